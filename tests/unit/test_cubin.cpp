// Facts out of a cubin's bytes, also out of damaged ones. Cubins of the real compiler: tests/compile/test_nvrtc.cpp.
#include <gtest/gtest.h>

#include <string>

#include "cache/error.h"
#include "runtime/jit/cubin.h"
#include "tests/support/cubin_builder.h"

namespace flashtune {
namespace {

/// Reads everything there is; whatever the bytes, the only exception is Error(kInternal). True when nothing was thrown.
bool reads(const std::string& cubin) {
  try {
    facts_of_cubin(cubin, "kernel");
    instruction_mix(cubin, "kernel");
    constants_in_cubin(cubin, "kernel");
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal) << error.what();
    return false;
  }
}

TEST(Cubin, SaysRegistersStackAndThreads) {
  CubinBuilder builder;
  builder.registers = 168;
  builder.frame = 40;
  builder.max_threads[0] = 32;
  builder.max_threads[1] = 4;
  const KernelFacts facts = facts_of_cubin(builder.bytes(), "kernel");
  EXPECT_EQ(facts.registers, 168);
  EXPECT_EQ(facts.stack_bytes, 40);
  EXPECT_EQ(facts.max_threads, 128);
  EXPECT_EQ(facts.smem_static, 0);
  EXPECT_EQ(facts.spill_bytes, 0);
}

TEST(Cubin, CountsStaticSharedMemoryWithoutWhatTheSystemReserves) {
  CubinBuilder builder;
  builder.shared_bytes = 4096 + 1024;
  for (const bool new_abi : {false, true}) {
    builder.new_abi = new_abi;
    builder.arch = 89;
    EXPECT_EQ(facts_of_cubin(builder.bytes(), "kernel").smem_static, 5120);
    builder.arch = 90;
    EXPECT_EQ(facts_of_cubin(builder.bytes(), "kernel").smem_static, 4096);
    builder.arch = 120;
    EXPECT_EQ(facts_of_cubin(builder.bytes(), "kernel").smem_static, 4096);
  }
}

TEST(Cubin, CountsInstructionsByTheirLowTwelveBits) {
  CubinBuilder builder;
  builder.opcodes = {0x23c, 0x23c, 0x23c, 0x83b, 0xfae, 0x387, 0x983, 0x308, 0x111};
  EXPECT_EQ(instruction_mix(builder.bytes(), "kernel"),
            (std::map<std::string, int>{
                {"HMMA", 3}, {"LDSM", 1}, {"LDGSTS", 1}, {"STL", 1}, {"LDL", 1}, {"MUFU", 1}, {"other", 1}}));
}

TEST(Cubin, HoldsTheCodeOfAKernelAndItsConstants) {
  CubinBuilder builder;
  builder.opcodes = {0x23c, 0x83b};
  const std::string without = builder.bytes();
  EXPECT_EQ(code_in_cubin(without, "kernel").size(), 32u);
  EXPECT_EQ(constants_in_cubin(without, "kernel"), "");
  builder.constants = "literals";
  const std::string with = builder.bytes();
  EXPECT_EQ(code_in_cubin(with, "kernel"), code_in_cubin(without, "kernel"));
  EXPECT_EQ(constants_in_cubin(with, "kernel"), "literals");
}

TEST(Cubin, WithoutTheEntryIsRefusedByName) {
  try {
    facts_of_cubin(CubinBuilder().bytes(), "another");
    FAIL() << "facts of a kernel that is not there";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("another"), std::string::npos) << error.what();
  }
}

TEST(Cubin, ThatIsNoneIsRefused) {
  EXPECT_FALSE(reads(""));
  EXPECT_FALSE(reads("not an ELF file at all, but long enough to hold the header of one: sixty-four bytes"));
  std::string for_a_cpu = CubinBuilder().bytes();
  for_a_cpu[18] = 62;  // e_machine of x86-64
  for_a_cpu[19] = 0;
  EXPECT_FALSE(reads(for_a_cpu));
}

TEST(Cubin, IsNeverReadPastItsEndWhereverItIsCut) {
  const std::string whole = CubinBuilder().bytes();
  ASSERT_TRUE(reads(whole));
  // Copied to a string of its own each time, so that a sanitizer sees one byte too many.
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(reads(std::string(whole, 0, size))) << size;
}

TEST(Cubin, SurvivesAnyByteBeingWrong) {
  CubinBuilder builder;
  builder.shared_bytes = 2048;
  const std::string whole = builder.bytes();
  int readable = 0;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 0x10}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(value);
      readable += reads(damaged);
    }
  EXPECT_GT(readable, 0);
}

TEST(PtxasLog, GivesSpillsSummedOverStoresAndLoads) {
  EXPECT_EQ(spill_bytes_of_log("ptxas info    : 0 bytes gmem\n"
                               "ptxas info    : Function properties for kernel\n"
                               "    272 bytes stack frame, 268 bytes spill stores, 12 bytes spill loads\n"),
            280);
}

TEST(PtxasLog, GivesSpillsOfAllFunctions) {
  EXPECT_EQ(spill_bytes_of_log("8 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n"
                               "0 bytes stack frame, 16 bytes spill stores, 32 bytes spill loads\n"),
            60);
}

TEST(PtxasLog, WithoutSpillsGivesNone) {
  EXPECT_EQ(spill_bytes_of_log(""), 0);
  EXPECT_EQ(spill_bytes_of_log("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"), 0);
  EXPECT_EQ(spill_bytes_of_log(" bytes spill stores"), 0);
}

TEST(PtxasLog, TellsOfSerialisedProductsInItsOwnWords) {
  EXPECT_EQ(
      serialisation_in_log(
          "ptxas info    : (C7519) warpgroup.arrive is injected in around line 7 by compiler\n"
          "ptxas info    : (C7512) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
          "insufficient register resources for the function 'kernel'\n"
          "ptxas info    : 368 bytes gmem\n"),
      "(C7512) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient "
      "register resources for the function 'kernel'");
  EXPECT_EQ(serialisation_in_log("wgmma.mma_async instructions are serialized"),
            "wgmma.mma_async instructions are serialized");
}

TEST(PtxasLog, ThatNamesAnInjectedArriveSerialisesNothing) {
  EXPECT_EQ(serialisation_in_log(""), "");
  EXPECT_EQ(serialisation_in_log("ptxas info    : (C7519) warpgroup.arrive is injected in around line 7 by compiler to "
                                 "allow use of registers in GMMA in function 'kernel'\n"),
            "");
}

}  // namespace
}  // namespace flashtune
