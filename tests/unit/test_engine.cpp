// The engine on a host device: what it compiles, loads and launches when, and what it refuses before a launch.
#include "runtime/api/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cache/codec.h"
#include "cache/database.h"
#include "cache/error.h"
#include "cache/keys.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "tests/support/damaged_database.h"
#include "tests/support/fake_device.h"

namespace flashtune {
namespace {

Problem problem_of(int seq, int head_dim = 64) {
  Problem p;
  p.batch = 1, p.heads = p.kv_heads = 2;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = head_dim;
  return with_layout(p, Layout::kBshd);
}

/// Aligned addresses that nothing dereferences.
Tensors tensors() { return {0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0.125f}; }

/// An engine whose compiler turns every candidate into the fake kernel "attention".
class EngineTest : public ::testing::Test {
 protected:
  void open(EngineOptions options = {}) {
    auto owned = std::make_unique<FakeDevice>(fake_device_info(80));
    device = owned.get();
    device->register_kernel("attention", [this](const Launch& launch) {
      launches.push_back(launch);
      launches.back().params = nullptr;
      params.push_back(*static_cast<const PrefillParams*>(launch.params));
    });
    options.warn = [this](const std::string& line) { warnings.push_back(line); };
    options.compile = [this](const KernelSpec& spec) {
      specs.push_back(spec);
      Compiled compiled;
      compiled.ok = compiles;
      compiled.cubin = "attention";
      compiled.log = "prefill_mma.cuh(7): error: no";
      return compiled;
    };
    engine = std::make_unique<EngineImpl>(std::move(owned), std::move(options));
  }
  void SetUp() override { open(); }

  /// The message of the Error that `call` throws.
  template <class Call>
  std::string refusal(Call&& call, ErrorKind kind = ErrorKind::kInvalidArgument) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing was refused";
    return {};
  }

  /// A database with one measured row for this device.
  std::filesystem::path database_with(const Best& row) {
    const std::filesystem::path path = folder / "tuning.db";
    std::filesystem::remove(path);
    Database::open(path).put_best(row);
    return path;
  }

  Best row_of(const Problem& problem) {
    Best row;
    row.device = fake_device_info(80).key;
    row.driver = fake_device_info(80).driver;
    row.problem = problem;
    PrefillMmaConfig config;
    config.br = 64, config.bc = 32;
    row.candidate = {config};
    row.timing.median_us = 12;
    row.policy = "cold-graph/1";
    row.when = utc_now();
    return row;
  }

  const testing::TempFolder folder;
  FakeDevice* device = nullptr;
  std::unique_ptr<EngineImpl> engine;
  bool compiles = true;
  std::vector<KernelSpec> specs;
  std::vector<Launch> launches;
  std::vector<PrefillParams> params;
  std::vector<std::string> warnings;
};

TEST_F(EngineTest, CompilesLoadsAndLaunchesTheDecision) {
  const Problem problem = problem_of(300);
  int stream = 0;
  const Decision decision = engine->forward(problem, tensors(), 0, &stream);
  EXPECT_EQ(decision.candidate, fallback(bucket_of(problem), limits_of(80)));
  ASSERT_EQ(specs.size(), 1u);
  EXPECT_EQ(specs[0], (KernelSpec{decision.candidate, traits_of(problem), 80}));
  const Plan plan = make_plan(decision.candidate, problem, limits_of(80));
  ASSERT_EQ(launches.size(), 1u);
  EXPECT_EQ(launches[0].grid[0], plan.grid[0]);
  EXPECT_EQ(launches[0].block, plan.block);
  EXPECT_EQ(launches[0].smem_bytes, plan.smem_bytes);
  EXPECT_EQ(launches[0].stream, &stream);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params[0].v), 0x3000u);
  EXPECT_EQ(params[0].seq_q, 300);
}

TEST_F(EngineTest, LoadsOneKernelForAllProblemsItServes) {
  engine->forward(problem_of(300), tensors(), 0, nullptr);
  engine->forward(problem_of(300), tensors(), 0, nullptr);
  engine->forward(problem_of(5000), tensors(), 0, nullptr);
  EXPECT_EQ(device->loads, 1);
  EXPECT_EQ(launches.size(), 3u);
  engine->forward(problem_of(300, 128), tensors(), 0, nullptr);
  EXPECT_EQ(device->loads, 2);
}

TEST_F(EngineTest, PreparedProblemsNeedNothingDuringCapture) {
  engine->prepare({problem_of(300), problem_of(300, 128)});
  EXPECT_EQ(device->loads, 2);
  EXPECT_TRUE(launches.empty());
  int stream = 0;
  device->capturing.insert(&stream);
  engine->forward(problem_of(300), tensors(), 0, &stream);
  engine->forward(problem_of(290, 128), tensors(), 0, &stream);  // of the same bucket
  EXPECT_EQ(device->captured.size(), 2u);
  EXPECT_EQ(device->loads, 2);
}

TEST_F(EngineTest, CapturesIntoAGraphThatReplays) {
  engine->prepare({problem_of(300)});
  const auto graph = device->capture([&](Stream stream) { engine->forward(problem_of(300), tensors(), 0, stream); });
  EXPECT_TRUE(launches.empty());
  device->time_replay(*graph);
  device->time_replay(*graph);
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_EQ(params[1].seq_q, 300);
}

TEST_F(EngineTest, AMissDuringCaptureRunsTheLoadedKernelOfTheNearestProblem) {
  // A row whose config differs from the default's: the kernel that 4096 is served by is not the one of 128.
  EngineOptions options;
  options.database = database_with(row_of(problem_of(4096)));
  open(std::move(options));
  engine->prepare({problem_of(4096)});
  PrefillMmaConfig small;
  small.br = 32, small.bc = 32, small.warps = 2, small.blocks_per_sm = 6;
  ASSERT_EQ(rejection_of(small, traits_of(problem_of(128)), limits_of(80)), Rejection::kNone);
  PrefillMmaConfig other = small;
  other.bc = 16;
  engine->forward_with({small}, problem_of(128), tensors(), 0, nullptr);
  int stream = 0;
  device->capturing.insert(&stream);
  // `other` was never loaded; of what was, `small` was loaded for the nearest problem.
  engine->forward_with({other}, problem_of(160), tensors(), 0, &stream);
  EXPECT_EQ(device->captured.size(), 1u);
  EXPECT_EQ(device->loads, 2);
}

TEST_F(EngineTest, AMissDuringCaptureSaysWhatRan) {
  EngineOptions options;
  options.database = database_with(row_of(problem_of(4096)));
  open(std::move(options));
  PrefillMmaConfig loaded;
  loaded.br = 32, loaded.bc = 32, loaded.warps = 2, loaded.blocks_per_sm = 6;
  engine->forward_with({loaded}, problem_of(128), tensors(), 0, nullptr);
  int stream = 0;
  device->capturing.insert(&stream);
  const Decision decision = engine->forward(problem_of(4096), tensors(), 0, &stream);
  EXPECT_EQ(decision.candidate, Candidate{loaded});
  EXPECT_EQ(decision.reason, DecisionReason::kNotPrepared);
  EXPECT_EQ(decision.grade, Grade::kDefault);
  EXPECT_EQ(decision.row, -1);
}

TEST_F(EngineTest, AMissDuringCaptureWithNoKernelSaysWhatToPrepare) {
  engine->prepare({problem_of(300, 128)});  // of another head dim
  int stream = 0;
  device->capturing.insert(&stream);
  const std::string why = refusal([&] { engine->forward(problem_of(300), tensors(), 0, &stream); });
  EXPECT_NE(why.find("prepare()"), std::string::npos) << why;
  EXPECT_NE(why.find(problem_to_text(problem_of(300))), std::string::npos) << why;
  EXPECT_TRUE(device->captured.empty());
  EXPECT_EQ(device->loads, 1);
}

TEST_F(EngineTest, PrepareRefusesAllWhenOneProblemIsNotSupported) {
  refusal([&] { engine->prepare({problem_of(300), problem_of(300, 12)}); });
  EXPECT_EQ(device->loads, 0);
  EXPECT_TRUE(specs.empty());
}

TEST_F(EngineTest, NamesTheTensorThatIsMisalignedOrNull) {
  Tensors bad = tensors();
  bad.k += 8;
  std::string why = refusal([&] { engine->forward(problem_of(300), bad, 0, nullptr); });
  EXPECT_NE(why.find("k = 0x2008 is not aligned to 16 bytes"), std::string::npos) << why;
  for (DevicePtr Tensors::*member : {&Tensors::q, &Tensors::k, &Tensors::v, &Tensors::o}) {
    bad = tensors();
    bad.*member = 0;
    why = refusal([&] { engine->forward(problem_of(300), bad, 0, nullptr); });
    EXPECT_NE(why.find("is a null pointer"), std::string::npos) << why;
  }
  bad = tensors();
  bad.lse += 2;
  why = refusal([&] { engine->forward(problem_of(300), bad, 0, nullptr); });
  EXPECT_NE(why.find("lse"), std::string::npos) << why;
  EXPECT_TRUE(launches.empty());
  EXPECT_EQ(device->loads, 0);
}

TEST_F(EngineTest, TakesAMissingLogSumExpAndMissingKeysWhereThereAreNone) {
  Tensors some = tensors();
  some.lse = 0;
  engine->forward(problem_of(300), some, 0, nullptr);
  Problem no_keys = problem_of(300);
  no_keys.seq_kv = 0;
  some.k = some.v = 0;
  engine->forward(no_keys, some, 0, nullptr);
  EXPECT_EQ(launches.size(), 2u);
}

TEST_F(EngineTest, RefusesStridesThatNoCopyOrNoOutputCanHave) {
  Problem odd = problem_of(300);
  odd.k.row += 4;
  std::string why = refusal([&] { engine->forward(odd, tensors(), 0, nullptr); });
  EXPECT_NE(why.find("strides must be multiples of 8"), std::string::npos) << why;
  Problem overlapping = problem_of(300);
  overlapping.o.head = 0;
  why = refusal([&] { engine->forward(overlapping, tensors(), 0, nullptr); });
  EXPECT_NE(why.find("share memory"), std::string::npos) << why;
  EXPECT_TRUE(launches.empty());
  // An input may be one for all heads, and an axis of one element may have any stride.
  Problem broadcast = problem_of(300);
  broadcast.k.head = broadcast.v.head = 0;
  broadcast.o.batch = 0;
  engine->forward(broadcast, tensors(), 0, nullptr);
  EXPECT_EQ(launches.size(), 1u);
}

TEST_F(EngineTest, RefusesAScaleThatKernelsCannotComputeWithBeforeItCompiles) {
  Tensors bad = tensors();
  compiles = false;
  for (const float scale : {NAN, INFINITY, 3e38f, -3e38f}) {
    bad.scale = scale;
    const std::string why = refusal([&] { engine->forward(problem_of(300), bad, 0, nullptr); });
    EXPECT_NE(why.find("softmax scale"), std::string::npos) << why;
  }
}

TEST_F(EngineTest, ReportsAKernelThatDoesNotCompileAndTriesAgainNextTime) {
  compiles = false;
  const std::string why =
      refusal([&] { engine->forward(problem_of(300), tensors(), 0, nullptr); }, ErrorKind::kCompile);
  EXPECT_NE(why.find("does not compile for sm_80"), std::string::npos) << why;
  EXPECT_NE(why.find("prefill_mma.cuh(7)"), std::string::npos) << why;
  compiles = true;
  engine->forward(problem_of(300), tensors(), 0, nullptr);
  EXPECT_EQ(launches.size(), 1u);
}

TEST_F(EngineTest, ServesRowsOfTheDatabase) {
  EngineOptions options;
  options.database = database_with(row_of(problem_of(4096)));
  open(std::move(options));
  const Decision decision = engine->forward(problem_of(4096), tensors(), 0, nullptr);
  EXPECT_EQ(decision.grade, Grade::kMeasured);
  EXPECT_EQ(decision.candidate, row_of(problem_of(4096)).candidate);
}

TEST_F(EngineTest, PrefersTheUsersRowsToTheShippedOnes) {
  Best mine = row_of(problem_of(4096)), shipped = mine;
  std::get<PrefillMmaConfig>(shipped.candidate.config).bc = 64;
  Database::open(folder / "mine.db").put_best(mine);
  Database::open(folder / "shipped.db").put_best(shipped);
  EngineOptions options;
  options.database = folder / "mine.db";
  options.shipped_database = folder / "shipped.db";
  open(options);
  EXPECT_EQ(engine->dispatcher().decide(problem_of(4096)).candidate, mine.candidate);
  options.database = folder / "nothing_there.db";
  open(options);
  EXPECT_EQ(engine->dispatcher().decide(problem_of(4096)).candidate, shipped.candidate);
}

TEST_F(EngineTest, WarnsOnceOfAnUntunedDeviceAndNamesTheCommand) {
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("Fake GPU is untuned"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find("flashtune sweep --device cuda:0"), std::string::npos) << warnings[0];
  engine->forward(problem_of(300), tensors(), 0, nullptr);
  EXPECT_EQ(warnings.size(), 1u);
}

TEST_F(EngineTest, DoesNotWarnOfATunedDevice) {
  warnings.clear();
  EngineOptions options;
  options.database = database_with(row_of(problem_of(4096)));
  open(std::move(options));
  EXPECT_TRUE(warnings.empty());
}

TEST_F(EngineTest, SaysThatCompiledKernelsAreNotKept) {
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  std::vector<std::string> heard;
  EngineOptions options;
  options.compiler.cubin_folder = folder.path();
  options.warn = [&](const std::string& line) { heard.push_back(line); };
  const EngineImpl with_a_compiler(std::make_unique<FakeDevice>(fake_device_info(80)), options);
  ASSERT_EQ(heard.size(), 2u) << "beside that the GPU is untuned";
  EXPECT_EQ(heard[0].find("flashtune: no kernel is taken from " + folder.path().string()), 0u) << heard[0];
}

TEST_F(EngineTest, RefusesADatabaseThatIsNone) {
  const std::filesystem::path path = folder / "no_database.db";
  std::ofstream(path) << "these are forty bytes that are no SQLite file at all";
  EngineOptions options;
  options.database = path;
  const std::string why = refusal([&] { open(options); }, ErrorKind::kIo);
  EXPECT_NE(why.find("no_database.db"), std::string::npos) << why;
}

TEST_F(EngineTest, UnloadsItsKernelsBeforeTheDeviceGoes) {
  engine->prepare({problem_of(300), problem_of(300, 128)});
  EXPECT_EQ(device->live_kernels(), 2);
  const std::shared_ptr<const int> live = device->live_kernel_count();
  engine.reset();
  EXPECT_EQ(*live, 0);
}

TEST_F(EngineTest, CompilesAKernelOnceForThreadsThatWantItTogether) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&] { engine->prepare({problem_of(300), problem_of(700)}); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(specs.size(), 1u);
  EXPECT_EQ(device->loads, 1);
}

TEST_F(EngineTest, PassesOverADamagedRowSaysSoOnceAndTakesTheNextGrade) {
  Best modelled = row_of(problem_of(1024));
  modelled.grade = Grade::kModelled;
  EngineOptions options;
  options.database = database_with(row_of(problem_of(1024)));
  Database::open(*options.database).put_best(modelled);
  testing::tamper(*options.database, "UPDATE bests SET candidate = 'prefill_mma br=32,nope=1' WHERE id = 1");
  warnings.clear();
  open(options);
  EXPECT_EQ(engine->skipped_rows(), (SkippedRows{1, 0}));
  EXPECT_EQ(engine->decide(problem_of(1024)).grade, Grade::kModelled);
  ASSERT_EQ(warnings.size(), 2u) << "and that the device is untuned";
  EXPECT_NE(warnings[0].find("1 row was passed over (1 damaged)"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find(options.database->string()), std::string::npos) << warnings[0];
}

}  // namespace
}  // namespace flashtune
