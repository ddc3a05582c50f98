// Products of sm_90a on the simulated device: a pipeline of copies and products is right under every schedule, and what
// a kernel does wrong with it is reported.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/hopper.h"
#include "tests/sim/races.h"

namespace flashtune {
namespace {

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

TEST_F(Hopper, AProductReadsWhatIsThere) {
  for (const CopyTiming timing : kTimings) {
    use(timing);
    EXPECT_EQ(report_of(kLoaded + kProduct + "wgmma_wait<0>();", 128), "");
    expect_says(report_of(kBegin + kLoad + kProduct + "wgmma_wait<0>();", 128),
                {"kernel.cu:18", "an operand of a product that is not there", "a copy that nobody has waited for"});
    const std::string write = "for (int i = t; i < 2048; i += 128) store_shared(smem + i * 4, 0);\n";
    expect_says(report_of(write + "sync_block();\n" + kProduct + "wgmma_wait<0>();", 128),
                {"a product reads offset 0", "which thread 0 wrote without fence_async_copies() since"});
    EXPECT_EQ(report_of(write + "fence_async_copies(); sync_block();\n" + kProduct + "wgmma_wait<0>();", 128), "");
  }
}

TEST_F(Hopper, AProductIsOneOfAWholeWarpgroup) {
  expect_says(report_of(kLoaded + kProduct + "wgmma_wait<0>();", 160),
              {"the last, incomplete warpgroup of 160 threads"});
  expect_says(report_of(kLoaded + "if (t >= 96) return;\n" + kProduct + "wgmma_wait<0>();", 128),
              {"deadlock", "Threads 0 to 95 wait in products (wgmma) that not all of the warpgroup have started"});
  expect_says(report_of(kLoaded + "float d[1][4]; wgmma_fence();\n"
                                  "const auto x = wgmma_operand(smem + (t < 64 ? 0 : 32), 1024, 0);\n"
                                  "Wgmma<8>::start<Dtype::kBf16>(d, x, x); wgmma_commit(); wgmma_wait<0>();",
                        128),
              {"the threads of a warpgroup diverge", "started at kernel.cu:19"});
  expect_says(report_of(kLoaded + "float d[1][4]; wgmma_fence(); const auto x = wgmma_operand(smem, 1024, 0) << 1;\n"
                                  "Wgmma<8>::start<Dtype::kBf16>(d, x, x); wgmma_commit(); wgmma_wait<0>();",
                        128),
              {"is not one in swizzled lines of 128 bytes"});
  expect_says(report_of(kLoaded + "float d[1][4]; const auto x = wgmma_operand(smem, 1024, 0);\n"
                                  "Wgmma<8>::start<Dtype::kBf16>(d, x, x);",
                        128),
              {"a product without wgmma_fence() before"});
}

TEST_F(Hopper, AThreadWaitsForItsProducts) {
  for (const CopyTiming timing : kTimings) {
    use(timing);
    expect_says(report_of(kLoaded + kProduct, 128), {"kernel.cu:19", "returned without waiting for 1 products"});
    expect_says(report_of(kLoaded + kProduct + "wgmma_wait<1>();", 128), {"without waiting for 1 products"});
  }
}

TEST_F(Hopper, WarpsOfAWarpgroupStartProductsWithoutWaitingForEachOther) {
  // Each warp starts its product only after the one before has started its own, and waited for by another barrier.
  const std::string body = kLoaded + "const int warp = t / 32; if (warp > 0) sync_named(warp, 64);\n" + kProduct +
                           "if (warp < 3) arrive_named(warp + 1, 64);\nwgmma_wait<0>();";
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    EXPECT_EQ(report_of(body, 128), "") << lane.name;
  }
}

TEST_F(Hopper, AProductReadsSharedMemoryAndRegistersAsLateAsTheWait) {
  // The other half of the rows lands where the product reads, before it is waited for.
  const std::string over = kLoaded + kProduct + "sync_block();" +
                           "if (t == 0) arrive_mbarrier_expecting(bar, 8192), "
                           "tma_load(smem, p.in, BoxAt{0, 64, 0, 0}, bar);\n"
                           "wait_mbarrier(bar, 1); wgmma_wait<0>(); p.words[t] = bits_of(d[0][0]);";
  const std::string registers = kLoaded +
                                "float d[8][4] = {}; u32 a[4] = {0x3f803f80, 0x3f803f80, 0x3f803f80, 0x3f803f80};\n"
                                "wgmma_fence();\n"
                                "Wgmma<64>::add_mn<Dtype::kBf16>(d, a, wgmma_operand(smem, 1024, 8192));\n"
                                "wgmma_commit(); a[0] = 0; wgmma_wait<0>(); p.words[t] = bits_of(d[0][0]);";
  for (const std::string& body : {over, registers}) {
    std::vector<unsigned> results[2];
    for (const CopyTiming timing : {CopyTiming::kEarly, CopyTiming::kLate}) {
      use(timing);
      const RaceCounter counter;
      EXPECT_EQ(report_of(body, 128), "");
      results[timing == CopyTiming::kLate] = words();
      EXPECT_EQ(counter.count() > 0, finds_races() && body == over);
    }
    EXPECT_NE(results[0], results[1]);
  }
}

TEST_F(Hopper, APipelineWithoutOneOfItsWaitsIsFound) {
  const auto without = [&](const std::string& what) {
    std::string body = kPipeline;
    const std::size_t at = body.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    body.replace(at, what.size(), ";");
    int found = 0;
    for (const Lane& lane : all_schedules()) {
      const RaceCounter counter;
      device_.set_options(lane.options);
      found += !report_of(body).empty() || counter.count() > 0;
    }
    return found;
  };
  const int all = static_cast<int>(all_schedules().size());
  EXPECT_EQ(without("wait_mbarrier(full(i % 2), i / 2 % 2);"), all);
  EXPECT_EQ(without("wait_mbarrier(empty(i % 2), i / 2 % 2 ^ 1);"), all);
  EXPECT_EQ(without("arrive_mbarrier_expecting(full(i % 2), 16384);"), all);
  EXPECT_EQ(without("fence_async_copies();"), all);
  EXPECT_EQ(without("tma_store_wait_read<0>();"), all);
  EXPECT_EQ(without("wgmma_fence();"), all);
  EXPECT_GT(without("wgmma_wait<0>();"), 0);
  EXPECT_GT(without("sync_named(1, 128);"), 0);
}

}  // namespace
}  // namespace flashtune
