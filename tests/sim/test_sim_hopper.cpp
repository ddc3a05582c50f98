// The instructions of sm_90a on the simulated device: a pipeline of copies and products is right under every schedule,
// and what a kernel does wrong with them is reported.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "cache/error.h"
#include "runtime/device/dtype_bits.h"
#include "sim/sim_compiler.h"
#include "sim/sim_device.h"
#include "tests/sim/bench.h"
#include "tests/sim/races.h"

namespace flashtune {
namespace {

/// A kernel whose body is `body`, which begins on kernel.cu:12 so that reports can be told by their place.
std::string kernel_text(const std::string& body) {
  return "#include \"flashtune/primitives/cluster.cuh\"\n"
         "#include \"flashtune/primitives/global.cuh\"\n"
         "#include \"flashtune/primitives/mbarrier.cuh\"\n"
         "#include \"flashtune/primitives/memory.cuh\"\n"
         "#include \"flashtune/primitives/stmatrix.cuh\"\n"
         "#include \"flashtune/primitives/tma.cuh\"\n"
         "#include \"flashtune/primitives/warp.cuh\"\n"
         "#include \"flashtune/primitives/warpgroup.cuh\"\n"
         "#include \"flashtune/primitives/wgmma.cuh\"\n"
         "struct Params { flashtune::TensorMap in, out; unsigned* words; }; using namespace flashtune; "
         "extern \"C\" __global__ void kernel(const Params p) { const int t = thread_index(), block = block_index();\n"
         "const u32 smem = dynamic_smem(), bar = shared_region(smem + 61440, 1024);\n" +
         body + "\n}\n";
}

std::vector<Lane> all_schedules() {
  std::vector<Lane> all = lanes(6);
  all.push_back({"fifo", {}});
  all.back().options.schedule = Schedule::kFifo;
  return all;
}

/// `in`: 128 rows of 256 small integers in boxes of 64 x 64. `out`: 64 rows of 64 elements, two heads by turns, in
/// boxes of 64 x (2 x 16).
class Hopper : public testing::Test {
 protected:
  static constexpr int kRows = 128, kDims = 256, kOutRows = 64;
  static constexpr unsigned kThreads = 160, kSmem = 62 * 1024;
  struct Params {
    TensorMap in, out;
    unsigned* words;
  };

  Hopper() : device_(90), in_(device_, 2 * kRows * kDims), out_(device_, 2 * kOutRows * 64), words_(device_, 4 * 4096) {
    std::vector<std::uint16_t> numbers;
    for (int i = 0; i < kRows * kDims; ++i) numbers.push_back(from_float<Dtype::kBf16>(number(i / kDims, i % kDims)));
    device_.copy_in(in_.get(), numbers.data(), in_.size());
    device_.fill(out_.get(), 0, out_.size());
    TensorBox in{in_.get(), 4, {kDims, kRows, 1, 1}, {1, kDims, kDims * kRows, kDims * kRows}, {64, 64, 1, 1}};
    TensorBox out{out_.get(), 5, {64, 2, kOutRows / 2, 1, 1}, {1, 64, 128, 8, 8}, {64, 2, 16, 1, 1}};
    params_ = {device_.tensor_map(in), device_.tensor_map(out), reinterpret_cast<unsigned*>(words_.get())};
  }
  static float number(int row, int dim) { return static_cast<float>((row * 7 + dim * 5) % 9 - 4); }

  /// What a launch reports; empty when it does not.
  std::string report_of(const std::string& body, unsigned threads = kThreads, unsigned cluster = 1) {
    static SimCompiler compiler;
    const Compiled compiled = compiler.compile_text(kernel_text(body), {"kernel"});
    EXPECT_TRUE(compiled.ok) << compiled.log;
    if (!compiled.ok) return "does not compile";
    const auto kernel = device_.load(compiled.cubin, "kernel", kSmem);
    Launch launch;
    launch.grid[0] = launch.cluster = cluster;
    launch.block = threads;
    launch.smem_bytes = kSmem;
    launch.params = &params_;
    try {
      device_.launch(*kernel, launch);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDevice);
      return error.what();
    }
    return "";
  }

  SimDevice device_;
  DeviceBuffer in_, out_, words_;
  Params params_;
};

/// A ring of two stages for the rows 0 to 63 (A) and 64 to 127 (B) of 64 dims: a producer warp, and a warpgroup that
/// multiplies, D = A B^T, and stores its 64 x 64 numbers as two boxes.
const std::string kPipeline =
    "const auto full = [=](int stage) { return bar + stage * 8; };\n"
    "const auto empty = [=](int stage) { return bar + 16 + stage * 8; };\n"
    "const auto a = [=](int stage) { return smem + stage * 16384; };\n"
    "const u32 out = shared_region(smem + 32768, 8192);\n"
    "if (t == 0) {\n"
    "  for (int i = 0; i < 2; ++i) init_mbarrier(full(i), 1), init_mbarrier(empty(i), 1);\n"
    "  fence_mbarrier_init();\n"
    "}\n"
    "sync_block();\n"
    "if (t >= 128) {\n"
    "  lower_registers<24>();\n"
    "  if (t == 128)\n"
    "    for (int i = 0; i < 4; ++i) {\n"
    "      wait_mbarrier(empty(i % 2), i / 2 % 2 ^ 1);\n"
    "      arrive_mbarrier_expecting(full(i % 2), 16384);\n"
    "      tma_load(a(i % 2), p.in, BoxAt{i * 64, 0, 0, 0}, full(i % 2), keep_in_l2());\n"
    "      tma_load(a(i % 2) + 8192, p.in, BoxAt{i * 64, 64, 0, 0}, full(i % 2));\n"
    "    }\n"
    "} else {\n"
    "  raise_registers<240>();\n"
    "  float d[8][4];\n"
    "  for (int i = 0; i < 4; ++i) {\n"
    "    wait_mbarrier(full(i % 2), i / 2 % 2);\n"
    "    wgmma_fence();\n"
    "    for (int k = 0; k < 4; ++k) {\n"
    "      const auto x = wgmma_operand(a(i % 2) + k * 32, 1024, 0);\n"
    "      const auto y = wgmma_operand(a(i % 2) + 8192 + k * 32, 1024, 0);\n"
    "      if (i == 0 && k == 0) Wgmma<64>::start<Dtype::kBf16>(d, x, y);\n"
    "      else Wgmma<64>::add<Dtype::kBf16>(d, x, y);\n"
    "    }\n"
    "    wgmma_commit();\n"
    "    wgmma_wait<0>();\n"
    "    if (t == 0) arrive_mbarrier(empty(i % 2));\n"
    "  }\n"
    "  const u32 row = t / 32 * 16 + t % 16;\n"
    "  for (u32 n = 0; n < 8; n += 2) {\n"
    "    u32 r[4];\n"
    "    for (int i = 0; i < 2; ++i) {\n"
    "      r[2 * i] = pack<Dtype::kBf16>(d[n + i][0], d[n + i][1]);\n"
    "      r[2 * i + 1] = pack<Dtype::kBf16>(d[n + i][2], d[n + i][3]);\n"
    "    }\n"
    "    stmatrix_x4(out + row * 128 + (n + t % 32 / 16 ^ row % 8) * 16, r);\n"
    "  }\n"
    "  fence_async_copies();\n"
    "  sync_named(1, 128);\n"
    "  if (t < 2) {\n"
    "    tma_store(p.out, GroupBoxAt{0, 0, t * 16, 0, 0}, out + t * 4096);\n"
    "    tma_store_commit();\n"
    "    tma_store_wait_read<0>();\n"
    "  }\n"
    "}\n";

TEST_F(Hopper, APipelineOfCopiesAndProductsIsRightUnderEverySchedule) {
  Counters first;
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    device_.fill(out_.get(), 0, out_.size());
    ASSERT_EQ(report_of(kPipeline), "") << lane.name;
    std::vector<std::uint16_t> got(64 * 64);
    device_.copy_out(got.data(), out_.get(), out_.size());
    for (int i = 0; i < 64 * 64; ++i) {
      float sum = 0;
      for (int k = 0; k < kDims; ++k) sum += number(i / 64, k) * number(64 + i % 64, k);
      ASSERT_EQ(to_float<Dtype::kBf16>(got[static_cast<std::size_t>(i)]),
                to_float<Dtype::kBf16>(from_float<Dtype::kBf16>(sum)))
          << lane.name << ", element " << i;
    }
    const Counters counters = device_.take_counters();
    EXPECT_EQ(counters.wgmma, 16u);
    EXPECT_EQ(counters.tma_boxes, 10u);
    EXPECT_EQ(counters.global_bytes_read, 8u * 8192);
    EXPECT_EQ(counters.global_bytes_written, 8192u);
    EXPECT_EQ(counters.stmatrix, 4u * 4);
    EXPECT_EQ(counters.store_conflicts, 0u);
    if (first.wgmma == 0) first = counters;
    EXPECT_EQ(counters, first) << lane.name;
  }
}

}  // namespace
}  // namespace flashtune
