// What the tests of sm_90a's instructions share: small kernels with a tensor to copy from and one to copy to.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cache/error.h"
#include "runtime/device/dtype_bits.h"
#include "sim/sim_compiler.h"
#include "sim/sim_device.h"
#include "tests/sim/bench.h"

namespace flashtune {

/// A kernel whose body is `body`, which begins on kernel.cu:13 so that reports can be told by their place.
inline std::string kernel_text(const std::string& body) {
  return "#include \"flashtune/primitives/cluster.cuh\"\n"
         "#include \"flashtune/primitives/dependent_launch.cuh\"\n"
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

inline std::vector<Lane> all_schedules() {
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
  std::string report_of(const std::string& body, unsigned threads = kThreads, unsigned cluster = 1,
                        bool early = false) {
    static SimCompiler compiler;
    static std::map<std::string, Compiled> known;
    if (known.count(body) == 0) known[body] = compiler.compile_text(kernel_text(body), {"kernel"});
    const Compiled& compiled = known[body];
    EXPECT_TRUE(compiled.ok) << compiled.log;
    if (!compiled.ok) return "does not compile";
    const auto kernel = device_.load(compiled.cubin, "kernel", kSmem);
    Launch launch;
    launch.grid[0] = launch.cluster = cluster;
    launch.block = threads;
    launch.smem_bytes = kSmem;
    launch.params = &params_;
    launch.early = early;
    try {
      device_.launch(*kernel, launch);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDevice);
      return error.what();
    }
    return "";
  }

  void use(CopyTiming timing, Schedule schedule = Schedule::kLifo) {
    SimOptions options;
    options.copies = timing;
    options.schedule = schedule;
    device_.set_options(options);
  }

  std::vector<unsigned> words() {
    std::vector<unsigned> words(words_.size() / 4);
    device_.copy_out(words.data(), words_.get(), words_.size());
    return words;
  }

  SimDevice device_;
  DeviceBuffer in_, out_, words_;
  Params params_;
};

inline void expect_says(const std::string& report, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(report.find(part), std::string::npos) << "'" << part << "' is not in: " << report;
}

constexpr CopyTiming kTimings[] = {CopyTiming::kLate, CopyTiming::kEarly, CopyTiming::kRandom};

/// A barrier for one arrival, known to all.
inline const std::string kBegin = "if (t == 0) init_mbarrier(bar, 1), fence_mbarrier_init();\nsync_block();\n";
/// A box on its way to the first 8192 bytes, announced,
inline const std::string kLoad =
    "if (t == 0) arrive_mbarrier_expecting(bar, 8192), tma_load(smem, p.in, BoxAt{0, 0, 0, 0}, bar);\n";
/// and there.
inline const std::string kLoaded = kBegin + kLoad + "wait_mbarrier(bar, 0);\n";
/// A product of the box with itself, 64 x 64; it ends with the number of the line 4 below kLoaded's last.
inline const std::string kProduct =
    "float d[8][4]; wgmma_fence();\n"
    "const auto x = wgmma_operand(smem, 1024, 0);\n"
    "Wgmma<64>::start<Dtype::kBf16>(d, x, x); wgmma_commit();\n";

}  // namespace flashtune
