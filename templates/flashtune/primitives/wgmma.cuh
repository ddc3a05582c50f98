// wgmma (sm_90a): products of a warpgroup, 64 x N += 64 x 16 * 16 x N, with fp32 accumulators in registers and operands
// in shared memory. They run beside the threads that started them: fence, products, commit, wait (warpgroup.cuh).
#pragma once

#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/problem.h"

namespace flashtune {

/// Describes an operand in shared memory to wgmma (PTX ISA, "Matrix Descriptor Format"), in lines of 128 bytes whose
/// chunks are XORed as TMA leaves them. `address` is a multiple of 32 in a tile that starts at one of 1024; distances
/// are in bytes.
/// K-major (a line holds 64 elements along K of one row): `eights` is from 8 rows to the next 8, `slabs` unused.
/// MN-major (a line holds 64 elements along N of one k): `eights` is from 8 k to the next 8, `slabs` from 64 n to the
/// next 64.
FT_DEVICE unsigned long long wgmma_operand(u32 address, int eights, int slabs) {
  constexpr unsigned long long kSwizzle128 = 1ull << 62;
  return static_cast<unsigned long long>((address & 0x3ffff) >> 4) | static_cast<unsigned long long>(slabs >> 4) << 16 |
         static_cast<unsigned long long>(eights >> 4) << 32 | kSwizzle128;
}

/// The products of one width. Element [n][e] of lane l of warp w is row 16 * w + l / 4 + 8 * (e / 2), column
/// 8 * n + 2 * (l % 4) + e % 2, as of mma.m16n8k16; so are the four registers of an A operand.
template <int kN>
struct Wgmma;

// The text and the operands of the 4, 8, ... 128 registers of an accumulator. The inputs come first, as "+l" and "+r",
// so that the accumulator's numbers do not depend on its size; ptxas sees that the instruction does not write them.
#define FT_WGMMA_D2_4 "%2,%3,%4,%5"
#define FT_WGMMA_D2_8 FT_WGMMA_D2_4 ",%6,%7,%8,%9"
#define FT_WGMMA_D2_12 FT_WGMMA_D2_8 ",%10,%11,%12,%13"
#define FT_WGMMA_D2_16 FT_WGMMA_D2_12 ",%14,%15,%16,%17"
#define FT_WGMMA_D2_20 FT_WGMMA_D2_16 ",%18,%19,%20,%21"
#define FT_WGMMA_D2_24 FT_WGMMA_D2_20 ",%22,%23,%24,%25"
#define FT_WGMMA_D2_28 FT_WGMMA_D2_24 ",%26,%27,%28,%29"
#define FT_WGMMA_D2_32 FT_WGMMA_D2_28 ",%30,%31,%32,%33"
#define FT_WGMMA_D2_36 FT_WGMMA_D2_32 ",%34,%35,%36,%37"
#define FT_WGMMA_D2_40 FT_WGMMA_D2_36 ",%38,%39,%40,%41"
#define FT_WGMMA_D2_44 FT_WGMMA_D2_40 ",%42,%43,%44,%45"
#define FT_WGMMA_D2_48 FT_WGMMA_D2_44 ",%46,%47,%48,%49"
#define FT_WGMMA_D2_52 FT_WGMMA_D2_48 ",%50,%51,%52,%53"
#define FT_WGMMA_D2_56 FT_WGMMA_D2_52 ",%54,%55,%56,%57"
#define FT_WGMMA_D2_60 FT_WGMMA_D2_56 ",%58,%59,%60,%61"
#define FT_WGMMA_D2_64 FT_WGMMA_D2_60 ",%62,%63,%64,%65"
#define FT_WGMMA_D2_68 FT_WGMMA_D2_64 ",%66,%67,%68,%69"
#define FT_WGMMA_D2_72 FT_WGMMA_D2_68 ",%70,%71,%72,%73"
#define FT_WGMMA_D2_76 FT_WGMMA_D2_72 ",%74,%75,%76,%77"
#define FT_WGMMA_D2_80 FT_WGMMA_D2_76 ",%78,%79,%80,%81"
#define FT_WGMMA_D2_84 FT_WGMMA_D2_80 ",%82,%83,%84,%85"
#define FT_WGMMA_D2_88 FT_WGMMA_D2_84 ",%86,%87,%88,%89"
#define FT_WGMMA_D2_92 FT_WGMMA_D2_88 ",%90,%91,%92,%93"
#define FT_WGMMA_D2_96 FT_WGMMA_D2_92 ",%94,%95,%96,%97"
#define FT_WGMMA_D2_100 FT_WGMMA_D2_96 ",%98,%99,%100,%101"
#define FT_WGMMA_D2_104 FT_WGMMA_D2_100 ",%102,%103,%104,%105"
#define FT_WGMMA_D2_108 FT_WGMMA_D2_104 ",%106,%107,%108,%109"
#define FT_WGMMA_D2_112 FT_WGMMA_D2_108 ",%110,%111,%112,%113"
#define FT_WGMMA_D2_116 FT_WGMMA_D2_112 ",%114,%115,%116,%117"
#define FT_WGMMA_D2_120 FT_WGMMA_D2_116 ",%118,%119,%120,%121"
#define FT_WGMMA_D2_124 FT_WGMMA_D2_120 ",%122,%123,%124,%125"
#define FT_WGMMA_D2_128 FT_WGMMA_D2_124 ",%126,%127,%128,%129"
#define FT_WGMMA_D5_4 "%5,%6,%7,%8"
#define FT_WGMMA_D5_8 FT_WGMMA_D5_4 ",%9,%10,%11,%12"
#define FT_WGMMA_D5_12 FT_WGMMA_D5_8 ",%13,%14,%15,%16"
#define FT_WGMMA_D5_16 FT_WGMMA_D5_12 ",%17,%18,%19,%20"
#define FT_WGMMA_D5_20 FT_WGMMA_D5_16 ",%21,%22,%23,%24"
#define FT_WGMMA_D5_24 FT_WGMMA_D5_20 ",%25,%26,%27,%28"
#define FT_WGMMA_D5_28 FT_WGMMA_D5_24 ",%29,%30,%31,%32"
#define FT_WGMMA_D5_32 FT_WGMMA_D5_28 ",%33,%34,%35,%36"
#define FT_WGMMA_D5_36 FT_WGMMA_D5_32 ",%37,%38,%39,%40"
#define FT_WGMMA_D5_40 FT_WGMMA_D5_36 ",%41,%42,%43,%44"
#define FT_WGMMA_D5_44 FT_WGMMA_D5_40 ",%45,%46,%47,%48"
#define FT_WGMMA_D5_48 FT_WGMMA_D5_44 ",%49,%50,%51,%52"
#define FT_WGMMA_D5_52 FT_WGMMA_D5_48 ",%53,%54,%55,%56"
#define FT_WGMMA_D5_56 FT_WGMMA_D5_52 ",%57,%58,%59,%60"
#define FT_WGMMA_D5_60 FT_WGMMA_D5_56 ",%61,%62,%63,%64"
#define FT_WGMMA_D5_64 FT_WGMMA_D5_60 ",%65,%66,%67,%68"
#define FT_WGMMA_D5_68 FT_WGMMA_D5_64 ",%69,%70,%71,%72"
#define FT_WGMMA_D5_72 FT_WGMMA_D5_68 ",%73,%74,%75,%76"
#define FT_WGMMA_D5_76 FT_WGMMA_D5_72 ",%77,%78,%79,%80"
#define FT_WGMMA_D5_80 FT_WGMMA_D5_76 ",%81,%82,%83,%84"
#define FT_WGMMA_D5_84 FT_WGMMA_D5_80 ",%85,%86,%87,%88"
#define FT_WGMMA_D5_88 FT_WGMMA_D5_84 ",%89,%90,%91,%92"
#define FT_WGMMA_D5_92 FT_WGMMA_D5_88 ",%93,%94,%95,%96"
#define FT_WGMMA_D5_96 FT_WGMMA_D5_92 ",%97,%98,%99,%100"
#define FT_WGMMA_D5_100 FT_WGMMA_D5_96 ",%101,%102,%103,%104"
#define FT_WGMMA_D5_104 FT_WGMMA_D5_100 ",%105,%106,%107,%108"
#define FT_WGMMA_D5_108 FT_WGMMA_D5_104 ",%109,%110,%111,%112"
#define FT_WGMMA_D5_112 FT_WGMMA_D5_108 ",%113,%114,%115,%116"
#define FT_WGMMA_D5_116 FT_WGMMA_D5_112 ",%117,%118,%119,%120"
#define FT_WGMMA_D5_120 FT_WGMMA_D5_116 ",%121,%122,%123,%124"
#define FT_WGMMA_D5_124 FT_WGMMA_D5_120 ",%125,%126,%127,%128"
#define FT_WGMMA_D5_128 FT_WGMMA_D5_124 ",%129,%130,%131,%132"
#define FT_WGMMA_R4(constraint) constraint(d[0][0]), constraint(d[0][1]), constraint(d[0][2]), constraint(d[0][3])
#define FT_WGMMA_R8(constraint) \
  FT_WGMMA_R4(constraint), constraint(d[1][0]), constraint(d[1][1]), constraint(d[1][2]), constraint(d[1][3])
#define FT_WGMMA_R12(constraint) \
  FT_WGMMA_R8(constraint), constraint(d[2][0]), constraint(d[2][1]), constraint(d[2][2]), constraint(d[2][3])
#define FT_WGMMA_R16(constraint) \
  FT_WGMMA_R12(constraint), constraint(d[3][0]), constraint(d[3][1]), constraint(d[3][2]), constraint(d[3][3])
#define FT_WGMMA_R20(constraint) \
  FT_WGMMA_R16(constraint), constraint(d[4][0]), constraint(d[4][1]), constraint(d[4][2]), constraint(d[4][3])
#define FT_WGMMA_R24(constraint) \
  FT_WGMMA_R20(constraint), constraint(d[5][0]), constraint(d[5][1]), constraint(d[5][2]), constraint(d[5][3])
#define FT_WGMMA_R28(constraint) \
  FT_WGMMA_R24(constraint), constraint(d[6][0]), constraint(d[6][1]), constraint(d[6][2]), constraint(d[6][3])
#define FT_WGMMA_R32(constraint) \
  FT_WGMMA_R28(constraint), constraint(d[7][0]), constraint(d[7][1]), constraint(d[7][2]), constraint(d[7][3])
#define FT_WGMMA_R36(constraint) \
  FT_WGMMA_R32(constraint), constraint(d[8][0]), constraint(d[8][1]), constraint(d[8][2]), constraint(d[8][3])
#define FT_WGMMA_R40(constraint) \
  FT_WGMMA_R36(constraint), constraint(d[9][0]), constraint(d[9][1]), constraint(d[9][2]), constraint(d[9][3])
#define FT_WGMMA_R44(constraint) \
  FT_WGMMA_R40(constraint), constraint(d[10][0]), constraint(d[10][1]), constraint(d[10][2]), constraint(d[10][3])
#define FT_WGMMA_R48(constraint) \
  FT_WGMMA_R44(constraint), constraint(d[11][0]), constraint(d[11][1]), constraint(d[11][2]), constraint(d[11][3])
#define FT_WGMMA_R52(constraint) \
  FT_WGMMA_R48(constraint), constraint(d[12][0]), constraint(d[12][1]), constraint(d[12][2]), constraint(d[12][3])
#define FT_WGMMA_R56(constraint) \
  FT_WGMMA_R52(constraint), constraint(d[13][0]), constraint(d[13][1]), constraint(d[13][2]), constraint(d[13][3])
#define FT_WGMMA_R60(constraint) \
  FT_WGMMA_R56(constraint), constraint(d[14][0]), constraint(d[14][1]), constraint(d[14][2]), constraint(d[14][3])
#define FT_WGMMA_R64(constraint) \
  FT_WGMMA_R60(constraint), constraint(d[15][0]), constraint(d[15][1]), constraint(d[15][2]), constraint(d[15][3])
#define FT_WGMMA_R68(constraint) \
  FT_WGMMA_R64(constraint), constraint(d[16][0]), constraint(d[16][1]), constraint(d[16][2]), constraint(d[16][3])
#define FT_WGMMA_R72(constraint) \
  FT_WGMMA_R68(constraint), constraint(d[17][0]), constraint(d[17][1]), constraint(d[17][2]), constraint(d[17][3])
#define FT_WGMMA_R76(constraint) \
  FT_WGMMA_R72(constraint), constraint(d[18][0]), constraint(d[18][1]), constraint(d[18][2]), constraint(d[18][3])
#define FT_WGMMA_R80(constraint) \
  FT_WGMMA_R76(constraint), constraint(d[19][0]), constraint(d[19][1]), constraint(d[19][2]), constraint(d[19][3])
#define FT_WGMMA_R84(constraint) \
  FT_WGMMA_R80(constraint), constraint(d[20][0]), constraint(d[20][1]), constraint(d[20][2]), constraint(d[20][3])
#define FT_WGMMA_R88(constraint) \
  FT_WGMMA_R84(constraint), constraint(d[21][0]), constraint(d[21][1]), constraint(d[21][2]), constraint(d[21][3])
#define FT_WGMMA_R92(constraint) \
  FT_WGMMA_R88(constraint), constraint(d[22][0]), constraint(d[22][1]), constraint(d[22][2]), constraint(d[22][3])
#define FT_WGMMA_R96(constraint) \
  FT_WGMMA_R92(constraint), constraint(d[23][0]), constraint(d[23][1]), constraint(d[23][2]), constraint(d[23][3])
#define FT_WGMMA_R100(constraint) \
  FT_WGMMA_R96(constraint), constraint(d[24][0]), constraint(d[24][1]), constraint(d[24][2]), constraint(d[24][3])
#define FT_WGMMA_R104(constraint) \
  FT_WGMMA_R100(constraint), constraint(d[25][0]), constraint(d[25][1]), constraint(d[25][2]), constraint(d[25][3])
#define FT_WGMMA_R108(constraint) \
  FT_WGMMA_R104(constraint), constraint(d[26][0]), constraint(d[26][1]), constraint(d[26][2]), constraint(d[26][3])
#define FT_WGMMA_R112(constraint) \
  FT_WGMMA_R108(constraint), constraint(d[27][0]), constraint(d[27][1]), constraint(d[27][2]), constraint(d[27][3])
#define FT_WGMMA_R116(constraint) \
  FT_WGMMA_R112(constraint), constraint(d[28][0]), constraint(d[28][1]), constraint(d[28][2]), constraint(d[28][3])
#define FT_WGMMA_R120(constraint) \
  FT_WGMMA_R116(constraint), constraint(d[29][0]), constraint(d[29][1]), constraint(d[29][2]), constraint(d[29][3])
#define FT_WGMMA_R124(constraint) \
  FT_WGMMA_R120(constraint), constraint(d[30][0]), constraint(d[30][1]), constraint(d[30][2]), constraint(d[30][3])
#define FT_WGMMA_R128(constraint) \
  FT_WGMMA_R124(constraint), constraint(d[31][0]), constraint(d[31][1]), constraint(d[31][2]), constraint(d[31][3])

#define FT_WGMMA_TYPED(n, type, accumulate, operands, flags)                                                           \
  "{\n.reg .pred p;\nsetp.ne.b32 p, " accumulate ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type \
  " {" operands ", p, " flags ";\n}"

#define FT_WGMMA_SHARED(n, registers, type, accumulate, constraint, flags)                     \
  asm volatile(FT_WGMMA_TYPED(n, type, accumulate, FT_WGMMA_D2_##registers "}, %0, %1", flags) \
               : "+l"(a), "+l"(b), FT_WGMMA_R##registers(constraint))

#define FT_WGMMA_REGISTERS(n, registers, type)                                                         \
  asm volatile(FT_WGMMA_TYPED(n, type, "1", FT_WGMMA_D5_##registers "}, {%0,%1,%2,%3}, %4", "1, 1, 1") \
               : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3), "+l"(b), FT_WGMMA_R##registers("+f"))

/* The instruction, FT_WGMMA_SHARED or FT_WGMMA_REGISTERS, of the type that a function is asked for. */
#define FT_WGMMA_OF_TYPE(instruction, n, registers, ...)          \
  if constexpr (kDtype == Dtype::kBf16)                           \
    instruction(n, registers, "bf16" __VA_OPT__(, ) __VA_ARGS__); \
  else                                                            \
    instruction(n, registers, "f16" __VA_OPT__(, ) __VA_ARGS__)

#define FT_WGMMA(n, registers)                                                                            \
  template <>                                                                                             \
  struct Wgmma<n> {                                                                                       \
    /* d = a * b, both K-major in shared memory: nothing has to be zeroed before. */                      \
    template <Dtype kDtype>                                                                               \
    FT_DEVICE static void start(float (&d)[n / 8][4], unsigned long long a, unsigned long long b) {       \
      FT_WGMMA_OF_TYPE(FT_WGMMA_SHARED, n, registers, "0", "=f", "1, 1, 0, 0");                           \
    }                                                                                                     \
    /* d += a * b, both K-major in shared memory. */                                                      \
    template <Dtype kDtype>                                                                               \
    FT_DEVICE static void add(float (&d)[n / 8][4], unsigned long long a, unsigned long long b) {         \
      FT_WGMMA_OF_TYPE(FT_WGMMA_SHARED, n, registers, "1", "+f", "1, 1, 0, 0");                           \
    }                                                                                                     \
    /* d += a * b, a K-major and b MN-major in shared memory. */                                          \
    template <Dtype kDtype>                                                                               \
    FT_DEVICE static void add_mn(float (&d)[n / 8][4], unsigned long long a, unsigned long long b) {      \
      FT_WGMMA_OF_TYPE(FT_WGMMA_SHARED, n, registers, "1", "+f", "1, 1, 0, 1");                           \
    }                                                                                                     \
    /* d += a * b, a in registers, which stay as they are until the wait, b MN-major in shared memory. */ \
    template <Dtype kDtype>                                                                               \
    FT_DEVICE static void add_mn(float (&d)[n / 8][4], const u32 (&a)[4], unsigned long long b) {         \
      u32 a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];                                                     \
      FT_WGMMA_OF_TYPE(FT_WGMMA_REGISTERS, n, registers);                                                 \
    }                                                                                                     \
  }

FT_WGMMA(8, 4);
FT_WGMMA(16, 8);
FT_WGMMA(24, 12);
FT_WGMMA(32, 16);
FT_WGMMA(40, 20);
FT_WGMMA(48, 24);
FT_WGMMA(56, 28);
FT_WGMMA(64, 32);
FT_WGMMA(72, 36);
FT_WGMMA(80, 40);
FT_WGMMA(88, 44);
FT_WGMMA(96, 48);
FT_WGMMA(104, 52);
FT_WGMMA(112, 56);
FT_WGMMA(120, 60);
FT_WGMMA(128, 64);
FT_WGMMA(136, 68);
FT_WGMMA(144, 72);
FT_WGMMA(152, 76);
FT_WGMMA(160, 80);
FT_WGMMA(168, 84);
FT_WGMMA(176, 88);
FT_WGMMA(184, 92);
FT_WGMMA(192, 96);
FT_WGMMA(200, 100);
FT_WGMMA(208, 104);
FT_WGMMA(216, 108);
FT_WGMMA(224, 112);
FT_WGMMA(232, 116);
FT_WGMMA(240, 120);
FT_WGMMA(248, 124);
FT_WGMMA(256, 128);

}  // namespace flashtune
