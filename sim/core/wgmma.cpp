// When products are made, and of what. Layouts: PTX ISA, "Asynchronous Warpgroup Level Matrix", those of m64nNk16 and
// of the 128-byte swizzle.
#include "sim/core/wgmma.h"

#include <fmt/format.h>

#include <cstring>

#include "runtime/device/dtype_bits.h"
#include "sim/core/cluster.h"
#include "sim/core/sanitizers.h"

namespace flashtune::sim {
namespace {

using Operands = Warpgroup::Operands;
using Started = Warpgroup::Started;
constexpr unsigned kRows = 64, kDepth = 16, kChunk = 16, kLine = 128, kPerChunk = 8, kPerLine = 64;

/// An operand's descriptor.
struct Descriptor {
  unsigned start, slabs, eights;
};

Descriptor decode(Block& block, unsigned long long bits, Site site) {
  const auto bytes = [&](int shift) { return static_cast<unsigned>(bits >> shift & 0x3fff) << 4; };
  constexpr unsigned long long kFields = 0x3fff | 0x3fffull << 16 | 0x3fffull << 32;
  if ((bits & ~kFields) != 1ull << 62)
    block.fail(site, [&] { return fmt::format("the operand {:#x} is not one in swizzled lines of 128 bytes", bits); });
  return {bytes(0), bytes(16), bytes(32)};
}

/// Eight elements of an operand, of one row along K, or of one k along N. Descriptors know no regions.
const unsigned char* chunk_at(Block& block, unsigned unswizzled, Site site) {
  const unsigned address = unswizzled ^ (unswizzled / kLine % 8 * kChunk);
  SharedMemory& shared = block.shared();
  const unsigned char* p = shared.at(address, kChunk);
  if (p == nullptr)
    block.fail(site, [&] {
      return fmt::format("an operand of a product out of bounds or misaligned: {}", shared.fault(address, kChunk));
    });
  if (!shared.readable(address, kChunk))
    block.fail(site, [&] {
      return fmt::format("an operand of a product that is not there: {}", shared.why_unreadable(address, kChunk));
    });
  block.check_fenced(address, "a product reads", site);
  kernel_reads(p, kChunk);
  return p;
}

template <Dtype kDtype>
void unpack(const unsigned char* chunk, float* to, unsigned stride) {
  std::uint16_t bits[kPerChunk];
  std::memcpy(bits, chunk, kChunk);
  for (unsigned i = 0; i < kPerChunk; ++i) to[i * stride] = to_float<kDtype>(bits[i]);
}

/// K-major: `rows` rows, of which element k goes to to[row * row_stride + k * depth_stride].
template <Dtype kDtype>
void read_by_row(Block& block, const Descriptor& from, unsigned rows, float* to, unsigned row_stride,
                 unsigned depth_stride, Site site) {
  for (unsigned row = 0; row < rows; ++row)
    for (unsigned k = 0; k < kDepth; k += kPerChunk) {
      const unsigned address = from.start + row / 8 * from.eights + row % 8 * kLine + k * 2;
      unpack<kDtype>(chunk_at(block, address, site), to + row * row_stride + k * depth_stride, depth_stride);
    }
}

template <Dtype kDtype>
void read_by_depth(Block& block, const Descriptor& from, unsigned columns, float (&to)[kDepth][256], Site site) {
  for (unsigned k = 0; k < kDepth; ++k)
    for (unsigned n = 0; n < columns; n += kPerChunk) {
      const unsigned address =
          from.start + n / kPerLine * from.slabs + k / 8 * from.eights + k % 8 * kLine + n % kPerLine * 2;
      unpack<kDtype>(chunk_at(block, address, site), &to[k][n], 1);
    }
}

/// Fragments of A as of mma.m16n8k16, a warp for each 16 rows.
template <Dtype kDtype>
void read_registers(const Started& s, float (&to)[kRows][kDepth]) {
  for (unsigned t = 0; t < Warpgroup::kThreads; ++t)
    for (unsigned r = 0; r < 4; ++r) {
      float* pair = &to[t / 32 * 16 + t % 32 / 4 + r % 2 * 8][t % 4 * 2 + r / 2 * 8];
      pair[0] = to_float<kDtype>(static_cast<std::uint16_t>(s.a[t][r]));
      pair[1] = to_float<kDtype>(static_cast<std::uint16_t>(s.a[t][r] >> 16));
    }
}

template <Dtype kDtype>
void read_operands(Block& block, const Started& s, Operands& to) {
  const Product& p = s.product;
  const auto columns = static_cast<unsigned>(p.columns);
  if (p.registers != nullptr)
    read_registers<kDtype>(s, to.a);
  else
    read_by_row<kDtype>(block, decode(block, p.a, s.site), kRows, to.a[0], kDepth, 1, s.site);
  const Descriptor b = decode(block, p.b, s.site);
  if (p.b_by_depth)
    read_by_depth<kDtype>(block, b, columns, to.b, s.site);
  else
    read_by_row<kDtype>(block, b, columns, to.b[0], 1, 256, s.site);
}

// --- the arithmetic, nearly all of the time that is spent here

using Eight = float __attribute__((vector_size(32), aligned(4)));
constexpr unsigned kTogether = 4;  // rows

/// kTogether rows of D += A B. Sums in single precision, in order of k, as in matrix.cpp: a fused multiply-add would
/// make results differ from host to host.
[[gnu::always_inline]] inline void multiply_rows(const float (*a)[kDepth], const float (*b)[256], unsigned columns,
                                                 float (*d)[256]) {
  for (unsigned n = 0; n < columns; n += 8) {
    Eight sums[kTogether];
    for (unsigned m = 0; m < kTogether; ++m) std::memcpy(&sums[m], &d[m][n], sizeof sums[m]);
    for (unsigned k = 0; k < kDepth; ++k) {
      Eight row;
      std::memcpy(&row, &b[k][n], sizeof row);
      for (unsigned m = 0; m < kTogether; ++m) sums[m] += a[m][k] * row;
    }
    for (unsigned m = 0; m < kTogether; ++m) std::memcpy(&d[m][n], &sums[m], sizeof sums[m]);
  }
}

/// Thread t % 4 of a row's four has columns 8 * n + 2 * (t % 4) and the next.
[[gnu::always_inline]] inline void multiply_all(const Started& s, const Operands& from) {
  const auto columns = static_cast<unsigned>(s.product.columns);
  for (unsigned first = 0; first < kRows; first += kTogether) {
    float d[kTogether][256];
    const auto each_pair = [&](const auto& f) {
      for (unsigned m = 0; m < kTogether; ++m) {
        const unsigned row = first + m, thread = row / 16 * 32 + row % 8 * 4;
        for (unsigned quarter = 0; quarter < 4; ++quarter) {
          float* mine = s.d[thread + quarter] + row % 16 / 8 * 2;
          for (unsigned n = 0; n < columns / 8; ++n) f(mine + n * 4, &d[m][n * 8 + quarter * 2]);
        }
      }
    };
    if (s.product.adds)
      each_pair([](const float* mine, float* all) { std::memcpy(all, mine, 8); });
    else
      for (unsigned m = 0; m < kTogether; ++m) std::memset(d[m], 0, columns * sizeof(float));
    multiply_rows(&from.a[first], from.b, columns, d);
    each_pair([](float* mine, const float* all) { std::memcpy(mine, all, 8); });
  }
}

void multiply(const Started& s, const Operands& from) { multiply_all(s, from); }

#if defined(__x86_64__)
[[gnu::target("avx2")]] void multiply_wide(const Started& s, const Operands& from) { multiply_all(s, from); }
const auto kMultiply = __builtin_cpu_supports("avx2") ? multiply_wide : multiply;
#else
constexpr auto kMultiply = multiply;
#endif

// --- when

/// Makes all products of the group before `past`.
void make(Block& block, Warpgroup& g, unsigned past) {
  for (; g.made < past; ++g.made) {
    Started& s = g.at(g.made);
    block.cluster().bystanders().run([&] {
      acquire(&s.order);
      if (s.product.format == Format::kBf16)
        read_operands<Dtype::kBf16>(block, s, *g.operands);
      else
        read_operands<Dtype::kFp16>(block, s, *g.operands);
      release(&g.order);
    });
    const Unseen unseen;
    kMultiply(s, *g.operands);
  }
}

bool alike(const Product& a, const Product& b) {
  return a.a == b.a && a.b == b.b && (a.registers == nullptr) == (b.registers == nullptr) && a.columns == b.columns &&
         a.adds == b.adds && a.b_by_depth == b.b_by_depth && a.format == b.format;
}

/// The next product of the running thread, which is the same for all of its warpgroup.
Started& next_of(Block& block, Warpgroup& g, const Product& product, Site site) {
  const unsigned number = block.thread().products.started++;
  if (number - g.made >= Warpgroup::kMost)
    block.fail(site, [&] { return fmt::format("{} products that nobody has waited for", Warpgroup::kMost); });
  if (number == g.begun) {
    if (g.ring == nullptr) {
      g.ring = std::make_unique<Started[]>(Warpgroup::kMost);
      g.operands = std::make_unique<Operands>();
    }
    ++g.begun;
    Started& s = g.at(number);
    s.product = product;
    s.site = site;
    s.threads = 0;
  }
  Started& s = g.at(number);
  if (!same(s.site, site) || !alike(s.product, product))
    block.fail(site, [&] {
      return fmt::format(
          "the threads of a warpgroup diverge: product {} of this one is not the one that another has "
          "started at {}, or has other operands",
          number, text_of(s.site));
    });
  return s;
}

}  // namespace

void check_products_waited_for(Block& block) {
  const ThreadProducts& mine = block.thread().products;
  if (mine.waited_for != mine.started)
    block.fail(block.warpgroup().at(mine.waited_for).site, [&] {
      return fmt::format("it returned without waiting for {} products", mine.started - mine.waited_for);
    });
}

void start_product(float* d, const Product& product, Site site) {
  Block& block = Block::current();
  const unsigned threads = block.context().threads, mine = block.thread_index() % Warpgroup::kThreads;
  if (block.thread_index() - mine + Warpgroup::kThreads > threads)
    block.fail(site, [&] { return fmt::format("a product in the last, incomplete warpgroup of {} threads", threads); });
  if (!block.thread().products.fenced)
    block.fail(site, [] { return "a product without wgmma_fence() before: it may read registers that are not there"; });
  Warpgroup& g = block.warpgroup();
  Started& s = next_of(block, g, product, site);
  s.d[mine] = d;
  s.a[mine] = product.registers;
  release(&s.order);
  if (++s.threads < Warpgroup::kThreads) return;
  ++g.complete;
  ++block.count().wgmma;
  if (block.lands_at_once()) make(block, g, g.complete);
  block.wake_those(Meeting::kProducts, [&](const Thread& t) {
    return t.index / Warpgroup::kThreads == block.thread_index() / Warpgroup::kThreads &&
           t.products.waited_for <= g.complete;
  });
}

void fence_products() { Block::current().thread().products.fenced = true; }

void commit_products() {
  ThreadProducts& mine = Block::current().thread().products;
  mine.groups.push_back(mine.started);
}

void wait_for_products(int pending, Site site) {
  Block& block = Block::current();
  block.meet_warp(Meeting::kProductWait, site, [](Warp&) {});
  ThreadProducts& mine = block.thread().products;
  if (mine.groups.size() <= static_cast<std::size_t>(pending)) return;
  const std::size_t groups = mine.groups.size() - static_cast<std::size_t>(pending);
  mine.waited_for = mine.groups[groups - 1];
  mine.groups.erase(mine.groups.begin(), mine.groups.begin() + static_cast<std::ptrdiff_t>(groups));
  Warpgroup& g = block.warpgroup();
  while (g.complete < mine.waited_for) block.sleep(Meeting::kProducts, site);
  make(block, g, mine.waited_for);
  acquire(&g.order);
}

}  // namespace flashtune::sim
