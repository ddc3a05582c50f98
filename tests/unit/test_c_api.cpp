// The C API and the C++ wrapper on it, on a host device: values across, statuses and sentences back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <thread>

#include "cache/error.h"
#include "flashtune/flashtune.h"
#include "flashtune/flashtune.hpp"
#include "runtime/api/c_api.h"
#include "tests/support/cache_fixtures.h"
#include "tests/support/fake_device.h"
#include "tests/support/run_program.h"
#include "tuner/suites/missed_file.h"

namespace flashtune {
namespace {

/// A handle on an engine whose one kernel notes its parameters.
class CApi : public ::testing::Test {
 protected:
  void SetUp() override {
    auto owned = std::make_unique<FakeDevice>();
    device = owned.get();
    device->register_kernel("attention", [this](const Launch& launch) {
      params = *static_cast<const PrefillParams*>(launch.params);
      stream = launch.stream;
      ++launches;
    });
    EngineOptions options;
    options.compile = [](const KernelSpec&) { return compiled_to("attention"); };
    engine = make_engine_handle(std::move(owned), std::move(options));
    ft_problem_init(&problem, FT_FP16, 2, 8, 4, 100, 200, 64);
  }
  void TearDown() override { ft_engine_destroy(engine); }

  static ft_tensors tensors() {
    const auto at = [](std::uintptr_t address) { return reinterpret_cast<void*>(address); };
    ft_tensors t = FT_TENSORS_INIT;
    t.q = at(0x1000), t.k = at(0x2000), t.v = at(0x3000), t.o = at(0x4000);
    return t;
  }

  FakeDevice* device = nullptr;
  ft_engine* engine = nullptr;
  ft_problem problem;
  PrefillParams params{};
  Stream stream = nullptr;
  int launches = 0;
};

TEST_F(CApi, SaysItsVersionAsTheHeaderDoes) { EXPECT_STREQ(ft_version(), FT_VERSION); }

TEST_F(CApi, StartsAProblemAsContiguousUnmaskedPrefill) {
  EXPECT_EQ(problem.op, FT_PREFILL);
  EXPECT_EQ(problem.causal, 0);
  EXPECT_EQ(problem.window, 0);
  EXPECT_EQ(problem.head_dim_v, 64);
  EXPECT_EQ(problem.q.batch, 100 * 8 * 64);
  EXPECT_EQ(problem.q.row, 8 * 64);
  EXPECT_EQ(problem.k.batch, 200 * 4 * 64);
  EXPECT_EQ(problem.v.head, 64);
  EXPECT_EQ(problem.o.row, 8 * 64);
}

TEST_F(CApi, WritesWhatWasAskedForAndNotMeasured) {
  const ScratchFolder folder;
  const std::string path = folder.path() / "missed.txt";
  size_t count = 7;
  ASSERT_EQ(ft_write_missed(engine, path.c_str(), &count), FT_OK) << ft_last_error();
  EXPECT_EQ(count, 0u);
  EXPECT_TRUE(read_missed_file(path).empty());
  ft_decision decision = FT_DECISION_INIT;
  ASSERT_EQ(ft_decide(engine, &problem, &decision), FT_OK);
  const ft_tensors t = tensors();
  ASSERT_EQ(ft_forward(engine, &problem, &t, nullptr, nullptr), FT_OK) << ft_last_error();
  ASSERT_EQ(ft_write_missed(engine, path.c_str(), nullptr), FT_OK);
  const std::vector<Problem> missed = read_missed_file(path);
  ASSERT_EQ(missed.size(), 1u);
  EXPECT_EQ(missed[0].heads, 8);
  EXPECT_EQ(missed[0].seq_q, 112) << "its bucket";
  EXPECT_EQ(ft_write_missed(engine, nullptr, &count), FT_INVALID_ARGUMENT);
  EXPECT_STREQ(ft_last_error(), "path is a null pointer");
  EXPECT_EQ(ft_write_missed(engine, "/nowhere/missed.txt", &count), FT_IO);
  EXPECT_EQ(ft_write_missed(engine, "", &count), FT_IO);
  const std::filesystem::path link = folder.path() / "link";
  std::filesystem::create_symlink("missed.txt", link);
  std::filesystem::permissions(path, std::filesystem::perms(0600));
  ASSERT_EQ(ft_write_missed(engine, link.c_str(), nullptr), FT_OK) << ft_last_error();
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(read_missed_file(path).size(), 1u);
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
}

TEST_F(CApi, SetsTheStridesOfALayout) {
  ASSERT_EQ(ft_problem_set_layout(&problem, FT_BHSD), FT_OK);
  EXPECT_EQ(problem.k.head, 200 * 64);
  EXPECT_EQ(problem.k.row, 64);
  EXPECT_EQ(ft_problem_set_layout(&problem, 9), FT_INVALID_ARGUMENT);
  EXPECT_STREQ(ft_last_error(), "layout 9 is unknown; the known ones are bshd, bhsd, packed, strided");
  EXPECT_EQ(problem.k.head, 200 * 64) << "a call that fails changes nothing";
}

TEST_F(CApi, PacksPrefillWithAsManyKeysAsQueriesAndNothingElse) {
  ft_problem packed = problem;
  packed.seq_kv = packed.seq_q;
  ASSERT_EQ(ft_problem_set_layout(&packed, FT_PACKED), FT_OK);
  EXPECT_EQ(packed.k.row, (8 + 2 * 4) * 64);
  for (const ft_op op : {FT_PREFILL, FT_DECODE}) {
    ft_problem other = problem;
    other.op = op;
    if (op == FT_DECODE) other.seq_q = other.seq_kv = 4;
    const ft_strides before = other.k;
    EXPECT_EQ(ft_problem_set_layout(&other, FT_PACKED), FT_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ft_last_error()).find("one QKV tensor"), std::string::npos) << ft_last_error();
    EXPECT_EQ(other.k.row, before.row);
  }
}

TEST_F(CApi, TellsWhetherAProblemIsSupportedAndWhyNot) {
  const char* reason = nullptr;
  EXPECT_EQ(ft_supported(&problem, &reason), 1);
  problem.head_dim = problem.head_dim_v = 264;
  EXPECT_EQ(ft_supported(&problem, &reason), 0);
  EXPECT_STREQ(reason, text_of(ProblemFault::kHeadDim));
  problem.dtype = 7;
  EXPECT_EQ(ft_supported(&problem, &reason), 0);
  EXPECT_STREQ(reason, "dtype 7 is unknown; the known ones are fp16, bf16, fp32");
  EXPECT_EQ(ft_supported(nullptr, nullptr), 0);
}

TEST_F(CApi, LaunchesWithTheCallersPointersAndStream) {
  problem.causal = 5;  // anything but 0
  problem.window = 30;
  ft_tensors t = tensors();
  t.scale = 0.5f;
  int some_stream = 0;
  ASSERT_EQ(ft_forward(engine, &problem, &t, nullptr, &some_stream), FT_OK) << ft_last_error();
  EXPECT_EQ(launches, 1);
  EXPECT_EQ(stream, &some_stream);
  EXPECT_EQ(params.q, t.q);
  EXPECT_EQ(params.o, t.o);
  EXPECT_EQ(params.lse, nullptr);
  EXPECT_EQ(params.kv_heads, 4);
  EXPECT_EQ(params.window, 30);
  EXPECT_FLOAT_EQ(params.scale_log2, 0.5f * 1.44269504f);
}

TEST_F(CApi, TakesAScaleOfZeroAsTheUsualOne) {
  const ft_tensors t = tensors();
  ASSERT_EQ(ft_forward(engine, &problem, &t, nullptr, nullptr), FT_OK);
  EXPECT_FLOAT_EQ(params.scale_log2, 1.44269504f / 8);
}

TEST_F(CApi, TakesAScaleOfWhichFp32HoldsTheProductWithLog2EAndRefusesAnyOther) {
  ft_tensors t = tensors();
  for (const float scale : {-0.5f, 1e-42f, 2.3586e38f}) {
    t.scale = scale;
    EXPECT_EQ(ft_forward(engine, &problem, &t, nullptr, nullptr), FT_OK) << ft_last_error();
    EXPECT_FLOAT_EQ(params.scale_log2, scale * 1.44269504f);
  }
  launches = 0;
  for (const float scale : {3e38f, -3e38f, INFINITY, NAN}) {
    t.scale = scale;
    EXPECT_EQ(ft_forward(engine, &problem, &t, nullptr, nullptr), FT_INVALID_ARGUMENT) << scale;
    EXPECT_NE(std::string(ft_last_error()).find("at most 2.3586e+38"), std::string::npos) << ft_last_error();
  }
  EXPECT_EQ(launches, 0);
}

TEST_F(CApi, RefusesMisalignedTensorsWithASentence) {
  ft_tensors t = tensors();
  t.q = reinterpret_cast<const void*>(std::uintptr_t{0x1002});
  EXPECT_EQ(ft_forward(engine, &problem, &t, nullptr, nullptr), FT_INVALID_ARGUMENT);
  EXPECT_NE(std::string(ft_last_error()).find("q = 0x1002"), std::string::npos) << ft_last_error();
  EXPECT_EQ(launches, 0);
}

TEST_F(CApi, NamesTheArgumentThatIsNull) {
  const ft_tensors t = tensors();
  const auto says = [](ft_status status, const char* sentence) {
    EXPECT_EQ(status, FT_INVALID_ARGUMENT);
    EXPECT_STREQ(ft_last_error(), sentence);
  };
  says(ft_forward(nullptr, &problem, &t, nullptr, nullptr), "engine is a null pointer");
  says(ft_forward(engine, nullptr, &t, nullptr, nullptr), "problem is a null pointer");
  says(ft_forward(engine, &problem, nullptr, nullptr, nullptr), "tensors is a null pointer");
  says(ft_workspace_bytes(engine, &problem, nullptr), "bytes is a null pointer");
  says(ft_decide(engine, &problem, nullptr), "decision is a null pointer");
  says(ft_explain(engine, &problem, nullptr, 10, nullptr), "buffer is a null pointer");
  says(ft_prepare(engine, nullptr, 1), "problem is a null pointer");
  says(ft_engine_create(nullptr, nullptr), "engine is a null pointer");
  says(ft_allocate(engine, 16, nullptr), "ptr is a null pointer");
}

TEST_F(CApi, PreparesSoThatACaptureNeedsNothing) {
  ASSERT_EQ(ft_prepare(engine, &problem, 1), FT_OK);
  EXPECT_EQ(device->loads, 1);
  int some_stream = 0;
  device->capturing.insert(&some_stream);
  const ft_tensors t = tensors();
  EXPECT_EQ(ft_forward(engine, &problem, &t, nullptr, &some_stream), FT_OK);
  EXPECT_EQ(device->captured.size(), 1u);
  problem.head_dim = problem.head_dim_v = 128;
  ASSERT_EQ(ft_problem_set_layout(&problem, FT_BSHD), FT_OK);
  EXPECT_EQ(ft_forward(engine, &problem, &t, nullptr, &some_stream), FT_INVALID_ARGUMENT);
  EXPECT_NE(std::string(ft_last_error()).find("prepare"), std::string::npos);
}

TEST_F(CApi, DecidesAndExplains) {
  ft_decision decision = FT_DECISION_INIT;
  ASSERT_EQ(ft_decide(engine, &problem, &decision), FT_OK);
  EXPECT_EQ(decision.grade, FT_DEFAULT);
  EXPECT_STREQ(ft_grade_text(decision.grade), "default");

  std::size_t length = 0;
  char config[512];
  ASSERT_EQ(ft_config_text(engine, &problem, config, sizeof(config), &length), FT_OK);
  EXPECT_EQ(std::string(config).rfind("prefill_mma br=", 0), 0u) << config;
  EXPECT_EQ(std::strlen(config), length);
  char first[12];
  ASSERT_EQ(ft_config_text(engine, &problem, first, sizeof(first), nullptr), FT_OK);
  EXPECT_STREQ(first, "prefill_mma");
  EXPECT_EQ(ft_config_text(engine, &problem, nullptr, 8, nullptr), FT_INVALID_ARGUMENT);
  EXPECT_STREQ(ft_last_error(), "buffer is a null pointer");

  ASSERT_EQ(ft_explain(engine, &problem, nullptr, 0, &length), FT_OK);
  std::string text(length + 1, 'x');
  ASSERT_EQ(ft_explain(engine, &problem, text.data(), text.size(), nullptr), FT_OK);
  EXPECT_EQ(std::strlen(text.c_str()), length);
  EXPECT_NE(text.find("* default"), std::string::npos) << text;
  EXPECT_NE(text.find("  measured"), std::string::npos) << text;
  char little[5];
  ASSERT_EQ(ft_explain(engine, &problem, little, sizeof(little), &length), FT_OK);
  EXPECT_EQ(text.substr(0, 4), little);
  EXPECT_EQ(length + 1, text.size());
}

TEST_F(CApi, KeepsErrorsPerThread) {
  EXPECT_EQ(ft_forward(nullptr, &problem, nullptr, nullptr, nullptr), FT_INVALID_ARGUMENT);
  const std::string here = ft_last_error();
  std::string there = "unset";
  std::thread([&] { there = ft_last_error(); }).join();
  EXPECT_EQ(there, "");
  EXPECT_EQ(here, ft_last_error());
}

TEST_F(CApi, MovesMemoryToTheDeviceAndBack) {
  void* ptr = nullptr;
  ASSERT_EQ(ft_allocate(engine, 64, &ptr), FT_OK);
  char out[64], in[64];
  std::memset(in, 7, sizeof(in));
  EXPECT_EQ(ft_copy_in(engine, ptr, in, 64), FT_OK);
  EXPECT_EQ(ft_synchronize(engine), FT_OK);
  EXPECT_EQ(ft_copy_out(engine, out, ptr, 64), FT_OK);
  EXPECT_EQ(std::memcmp(in, out, 64), 0);
  ft_free(engine, ptr);
  ft_free(engine, nullptr);
  EXPECT_EQ(device->allocated_bytes(), 0u);
  EXPECT_EQ(ft_allocate(engine, std::size_t{1} << 40, &ptr), FT_OUT_OF_MEMORY);
  EXPECT_EQ(ft_allocate(engine, std::numeric_limits<std::size_t>::max(), &ptr), FT_OUT_OF_MEMORY);
  EXPECT_EQ(ptr, nullptr);
}

TEST_F(CApi, HasAStatusForEachKindOfError) {
  const std::map<ErrorKind, ft_status> statuses = {
      {ErrorKind::kNotFound, FT_NOT_FOUND},     {ErrorKind::kIo, FT_IO},
      {ErrorKind::kCompile, FT_COMPILE},        {ErrorKind::kDevice, FT_DEVICE},
      {ErrorKind::kDeviceLost, FT_DEVICE_LOST}, {ErrorKind::kOutOfMemory, FT_OUT_OF_MEMORY},
      {ErrorKind::kInternal, FT_INTERNAL}};
  const ft_tensors t = tensors();
  for (const auto& [kind, status] : statuses) {
    device->register_kernel("attention", [kind = kind](const Launch&) { throw Error(kind, "as asked"); });
    EXPECT_EQ(ft_forward(engine, &problem, &t, nullptr, nullptr), status);
    EXPECT_STREQ(ft_last_error(), "as asked");
    EXPECT_STRNE(ft_status_text(status), "unknown status");
  }
  device->register_kernel("attention", [](const Launch&) { throw std::bad_alloc(); });
  EXPECT_EQ(ft_forward(engine, &problem, &t, nullptr, nullptr), FT_INTERNAL);
  device->register_kernel("attention", [](const Launch&) { throw 7; });
  EXPECT_EQ(ft_forward(engine, &problem, &t, nullptr, nullptr), FT_INTERNAL);
}

TEST_F(CApi, FailsWithAReasonForADeviceThatIsNotThere) {
  ft_options options = FT_OPTIONS_INIT;
  options.device = 9999;
  ft_engine* none = engine;
  EXPECT_EQ(ft_engine_create(&options, &none), FT_NOT_FOUND);
  EXPECT_EQ(none, nullptr);
  EXPECT_GT(std::strlen(ft_last_error()), 10u);
}

/// What an environment of these variables makes of options.
EngineOptions resolved(const ft_options& options, std::map<std::string, std::string> variables) {
  return resolve_options(options, [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Options, LeftOutAreTakenFromTheEnvironment) {
  const ft_options none = FT_OPTIONS_INIT;
  EXPECT_EQ(resolved(none, {{"FLASHTUNE_DB", "/a.db"}, {"HOME", "/h"}}).database, "/a.db");
  EXPECT_EQ(resolved(none, {{"XDG_DATA_HOME", "/x"}, {"HOME", "/h"}}).database, "/x/flashtune/tuning.db");
  EXPECT_EQ(resolved(none, {{"HOME", "/h"}}).database, "/h/.local/share/flashtune/tuning.db");
  const EngineOptions options = resolved(none, {{"HOME", "/h"}, {"CUDA_HOME", "/cuda"}});
  EXPECT_EQ(options.compiler.cubin_folder, "/h/.cache/flashtune/cubins");
  EXPECT_EQ(options.compiler.nvrtc_hints, std::vector<std::filesystem::path>{"/cuda"});
  EXPECT_EQ(options.shipped_database, std::nullopt);
}

TEST(Options, GivenWinOverTheEnvironmentAndEmptyMeansNone) {
  ft_options given = FT_OPTIONS_INIT;
  given.database = "/mine.db";
  given.shipped_database = "/shipped.db";
  given.cubin_folder = "";
  given.nvrtc = "/opt/nvrtc";
  given.template_root = "/templates";
  EngineOptions options = resolved(given, {{"FLASHTUNE_DB", "/a.db"}, {"CUDA_HOME", "/cuda"}, {"HOME", "/h"}});
  EXPECT_EQ(options.database, "/mine.db");
  EXPECT_EQ(options.shipped_database, "/shipped.db");
  EXPECT_EQ(options.compiler.cubin_folder, std::nullopt);
  EXPECT_EQ(options.compiler.nvrtc_hints, std::vector<std::filesystem::path>{"/opt/nvrtc"});
  EXPECT_EQ(options.compiler.template_root, "/templates");
  given.database = "";
  EXPECT_EQ(resolved(given, {{"FLASHTUNE_DB", "/a.db"}}).database, std::nullopt);
}

TEST(Options, HaveNoPlacesWhereThereIsNoHome) {
  const EngineOptions options = resolved(api::default_options(), {{"HOME", ""}});
  EXPECT_EQ(options.database, std::nullopt);
  EXPECT_EQ(options.compiler.cubin_folder, std::nullopt);
}

TEST(Options, TakeTheLimitOfCompiledKernelsFromTheEnvironment) {
  EXPECT_EQ(resolved(api::default_options(), {}).compiler.cubin_limit, kDefaultCubinLimit);
  EXPECT_EQ(resolved(api::default_options(), {{"FLASHTUNE_CUBIN_LIMIT", "2G"}}).compiler.cubin_limit,
            std::uintmax_t{2} << 30);
  EXPECT_THROW(resolved(api::default_options(), {{"FLASHTUNE_CUBIN_LIMIT", "much"}}), Error);
}

TEST(Options, SendWarningsWhereTheyAreTold) {
  std::string heard;
  ft_options given = FT_OPTIONS_INIT;
  given.warn = [](const char* line, void* data) { *static_cast<std::string*>(data) = line; };
  given.warn_data = &heard;
  resolved(given, {}).warn("untuned");
  EXPECT_EQ(heard, "untuned");
  ::testing::internal::CaptureStderr();
  resolved(api::default_options(), {}).warn("untuned");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "untuned\n");
}

TEST(Options, WarnWithoutHarmWhereStandardErrorIsClosedOrGone) {
  const auto ends_well = [](const std::function<void()>& spoil) {
    return testing::ended_well(testing::start_child([&] {
      const EngineOptions options = resolved(api::default_options(), {});
      spoil();
      options.warn("untuned");
      return true;
    }));
  };
  EXPECT_TRUE(ends_well([] { close(STDERR_FILENO); }));
  EXPECT_TRUE(ends_well([] {
    int ends[2];
    if (pipe(ends) != 0) _exit(2);
    close(ends[0]);
    dup2(ends[1], STDERR_FILENO);
  })) << "a pipe that nobody reads ended the program";
}

TEST_F(CApi, CppWrapperOwnsTheEngineAndThrows) {
  api::Engine wrapped(std::exchange(engine, nullptr));
  const ft_problem causal = make_problem(FT_BF16, 1, 4, 4, 64, 64, 128, true, FT_BHSD);
  EXPECT_EQ(causal.causal, 1);
  EXPECT_EQ(causal.q.row, 128);
  wrapped.prepare({causal});
  EXPECT_EQ(wrapped.workspace_bytes(causal), 0u);
  EXPECT_EQ(wrapped.decide(causal).grade, FT_DEFAULT);
  EXPECT_NE(wrapped.explain(causal).find("* default"), std::string::npos);
  EXPECT_EQ(wrapped.explain(causal).back(), '\n');
  const ScratchFolder folder;
  EXPECT_EQ(wrapped.write_missed(folder.path() / "missed.txt"), 1u);
  wrapped.forward(causal, tensors(), nullptr);
  EXPECT_EQ(launches, 1);
  {
    api::Memory first(wrapped, 32), second = std::move(first);
    first = api::Memory(wrapped, 16);
    EXPECT_EQ(second.size(), 32u);
    EXPECT_EQ(device->allocated_bytes(), 48u);
  }
  EXPECT_EQ(device->allocated_bytes(), 0u);
  api::Engine moved = std::move(wrapped);
  ft_problem bad = causal;
  bad.head_dim = 7;
  EXPECT_EQ(why_unsupported(bad), text_of(ProblemFault::kHeadDim));
  EXPECT_EQ(why_unsupported(causal), "");
  try {
    moved.decide(bad);
    FAIL() << "decided a head dim of 7";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.status(), FT_INVALID_ARGUMENT);
    EXPECT_NE(std::string(failure.what()).find("head-dim"), std::string::npos);
  }
}

}  // namespace
}  // namespace flashtune
