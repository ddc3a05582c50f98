// Append through the engine and the C API on a host device: what it launches, prepares and captures, and what it
// refuses before that.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "cache/codec.h"
#include "cache/error.h"
#include "flashtune/flashtune.hpp"
#include "runtime/api/c_api.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/tensors.h"
#include "tests/support/fake_device.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

constexpr DevicePtr kWorkspace = 0x9000;

Problem decode(int page_size = 0) {
  Problem p;
  p.op = Op::kDecode;
  p.dtype = Dtype::kFp16;
  p.batch = 3, p.heads = 8, p.kv_heads = 2;
  p.seq_q = 4, p.seq_kv = 100;
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

Problem append(int page_size = 0) {
  Problem p = decode(page_size);
  p.op = Op::kAppend;
  return p;
}

/// Aligned addresses that nothing dereferences.
AppendTensors tensors() {
  AppendTensors t;
  t.k_new = 0x1000, t.v_new = 0x2000, t.k = 0x3000, t.v = 0x4000;
  t.k_new_strides = t.v_new_strides = {4 * 2 * 64, 64, 2 * 64};
  return t;
}

AppendTensors rotated() {
  AppendTensors t = tensors();
  t.rope = Rope::kHalfSplit, t.rotary_dim = 64, t.rope_positions = 100;
  t.cos = 0x5000, t.sin = 0x6000;
  t.q = t.q_out = 0x7000;
  return t;
}

AppendTensors paged() {
  AppendTensors t = tensors();
  t.page_table = 0x8000, t.num_pages = 20, t.max_pages = 7;
  return t;
}

/// A handle on an engine whose kernels note what an append is launched with.
class Append : public testing::Test {
 protected:
  void SetUp() override {
    auto owned = std::make_unique<FakeDevice>();
    device = owned.get();
    const auto note = [this](const Launch& launch) {
      last = launch;
      params = *static_cast<const AppendParams*>(launch.params);
      ++launches;
    };
    device->register_kernel("append", note, sizeof(AppendParams));
    device->register_kernel(
        "attention", [](const Launch&) {}, sizeof(DecodeParams));
    EngineOptions options;
    options.compile = [](const KernelSpec& spec) {
      return compiled_to(spec.candidate.family() == Family::kKvAppend ? "append" : "attention");
    };
    handle = make_engine_handle(std::move(owned), std::move(options));
  }
  void TearDown() override { ft_engine_destroy(handle); }
  EngineImpl& engine() { return handle->impl; }

  /// The sentence of what is refused before anything is loaded or launched.
  std::string refusal(const AppendTensors& t, const Problem& problem = decode(), DevicePtr workspace = kWorkspace) {
    const int loads = device->loads, before = launches;
    try {
      engine().append(problem, t, workspace, nullptr);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
      EXPECT_EQ(device->loads, loads);
      EXPECT_EQ(launches, before);
      return error.what();
    }
    ADD_FAILURE() << "nothing was refused";
    return {};
  }

  FakeDevice* device = nullptr;
  ft_engine* handle = nullptr;
  Launch last;
  AppendParams params{};
  int launches = 0;
};

TEST_F(Append, WhoOnlyAsksIsToldOfAProblemThatNoKernelComputes) {
  Problem none = append();
  none.batch = 0;
  EXPECT_THROW(engine().decide(none), Error);
  EXPECT_THROW(engine().explain(none), Error);
}

TEST_F(Append, LaunchesAThreadForEachChunkOfKeysAndValues) {
  int stream = 0;
  engine().append(decode(), tensors(), kWorkspace, &stream);
  ASSERT_EQ(launches, 1);
  EXPECT_EQ(params.items, 3 * 4 * 2 * 8);
  EXPECT_EQ(last.grid[0], 2u);  // 192 items of 128 threads
  EXPECT_EQ(last.block, 128u);
  EXPECT_EQ(last.smem_bytes, 0u);
  EXPECT_EQ(last.stream, &stream);
  EXPECT_EQ(params.q, nullptr);
  EXPECT_EQ(params.rotary_dim, 0);
  EXPECT_EQ(params.by_heads.divisor, 2u);
  EXPECT_EQ(params.k_strides, decode().k);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params.v_new), 0x2000u);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params.status), kWorkspace);
}

TEST_F(Append, QueriesTakeThreadsOnlyWhereTheyAreGiven) {
  engine().append(decode(), rotated(), kWorkspace, nullptr);
  EXPECT_EQ(params.items, 3 * 4 * (2 + 8) * 8);
  EXPECT_EQ(last.grid[0], 8u);  // 960 items
  EXPECT_EQ(params.by_heads.divisor, 10u);
  EXPECT_EQ(params.rotary_dim, 64);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params.q_out), 0x7000u);
}

TEST_F(Append, OneKernelServesAllMasksSizesAndEmbeddings) {
  Problem other = decode();
  engine().append(other, tensors(), kWorkspace, nullptr);
  other.causal = true, other.window = 30, other.batch = 2, other.seq_q = 1;
  engine().append(other, rotated(), kWorkspace, nullptr);
  EXPECT_EQ(device->loads, 1);
  engine().append(decode(16), paged(), kWorkspace, nullptr);
  EXPECT_EQ(device->loads, 2);
}

TEST_F(Append, PreparedItMayBeCaptured) {
  int stream = 0;
  device->capturing.insert(&stream);
  try {
    engine().append(decode(), tensors(), kWorkspace, &stream);
    FAIL() << "loaded a kernel during a capture";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("call prepare() with it before the capture: append fp16"),
              std::string::npos)
        << error.what();
  }
  device->capturing.clear();
  engine().prepare({append()});
  EXPECT_EQ(device->loads, 1);
  device->capturing.insert(&stream);
  engine().append(decode(), rotated(), kWorkspace, &stream);
  EXPECT_EQ(device->captured.size(), 1u);
  EXPECT_EQ(device->loads, 1);
}

TEST_F(Append, SharesTheWorkspaceOfItsDecode) {
  EXPECT_EQ(engine().workspace_bytes(append()), static_cast<std::size_t>(kAppendWorkspace));
  EXPECT_GE(engine().workspace_bytes(decode()), engine().workspace_bytes(append()));
  EXPECT_EQ(refusal(tensors(), decode(), 0), "this problem needs a workspace of 256 bytes, and none was given");
  EXPECT_EQ(refusal(tensors(), decode(), 0x9008), "the workspace at 0x9008 is not aligned to 16 bytes");
}

TEST_F(Append, IsNoForwardAndTakesNoPrefill) {
  Problem prefill = decode();
  prefill.op = Op::kPrefill;
  EXPECT_EQ(refusal(tensors(), prefill), "append takes the problem of the decode that follows, not one of prefill");
  try {
    engine().forward(append(), {0x1000, 0x2000, 0x3000, 0x4000}, kWorkspace, nullptr);
    FAIL() << "computed an append";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("call append()"), std::string::npos) << error.what();
  }
}

TEST_F(Append, NamesThePointerThatIsNullOrMisaligned) {
  const std::pair<const char*, DevicePtr AppendTensors::*> pointers[] = {
      {"k_new", &AppendTensors::k_new}, {"v_new", &AppendTensors::v_new}, {"k", &AppendTensors::k},
      {"v", &AppendTensors::v},         {"cos", &AppendTensors::cos},     {"sin", &AppendTensors::sin},
      {"q", &AppendTensors::q},         {"q_out", &AppendTensors::q_out}};
  for (const auto& [name, pointer] : pointers) {
    AppendTensors t = rotated();
    t.*pointer = 0;
    EXPECT_EQ(refusal(t).rfind(std::string(name) + " is a null pointer", 0), 0u) << refusal(t);
    t.*pointer = 0x1008;
    EXPECT_EQ(refusal(t), std::string(name) + " = 0x1008 is not aligned to 16 bytes; copy it to where it is");
  }
}

TEST_F(Append, RefusesStridesThatNoCopyOrNoCacheCanHave) {
  AppendTensors t = tensors();
  t.v_new_strides.row = 100;
  EXPECT_NE(refusal(t).find("the strides of v_new (batch 512, row 100, head 64) must be multiples of 8"),
            std::string::npos)
      << refusal(t);
  Problem shared = decode();
  shared.k.batch = 0;  // one cache for all sequences may be read, and not written
  EXPECT_NE(refusal(tensors(), shared).find("the strides of k"), std::string::npos);
  shared = decode();
  shared.v.head = 0;
  EXPECT_NE(refusal(tensors(), shared).find("the strides of v"), std::string::npos);
  shared = decode();
  shared.q.head = 0;
  EXPECT_NE(refusal(rotated(), shared).find("the strides of q_out"), std::string::npos);
  t = tensors();
  t.k_new_strides.batch = 0;  // an input may be one for all
  engine().append(decode(), t, kWorkspace, nullptr);
  EXPECT_EQ(launches, 1);
}

TEST_F(Append, RefusesACacheThatIsTooSmall) {
  AppendTensors t = tensors();
  t.capacity = 99;
  EXPECT_NE(refusal(t).find("more than the 99 rows"), std::string::npos);
  t = paged();
  t.max_pages = 6;
  EXPECT_NE(refusal(t, decode(16)).find("more than the 6 pages"), std::string::npos);
  t = paged();
  t.page_table = 0;
  EXPECT_EQ(refusal(t, decode(16)), "page_table is a null pointer");
  Problem few = decode();
  few.seq_kv = 3;
  EXPECT_EQ(refusal(tensors(), few), "seq_kv = 3 is less than the 4 new rows: no sequence could hold them");
}

TEST_F(Append, RefusesTablesThatDoNotFit) {
  for (const int dim : {0, -16, 8, 24, 80}) {
    AppendTensors t = rotated();
    t.rotary_dim = dim;
    EXPECT_EQ(refusal(t),
              "rotary_dim is " + std::to_string(dim) + ": it must be a multiple of 16 from 16 to head_dim = 64");
  }
  AppendTensors t = rotated();
  t.rope_positions = 99;
  EXPECT_EQ(refusal(t), "cos and sin hold 99 positions, and a sequence may have seq_kv = 100 keys");
  t.rope = Rope::kNone;  // then they do not matter
  engine().append(decode(), t, kWorkspace, nullptr);
  EXPECT_EQ(launches, 1);
}

TEST_F(Append, RefusesMoreChunksThanOneLaunchNumbers) {
  Problem huge = decode();
  huge.batch = 1 << 24;
  huge.k.batch = huge.v.batch = 100 * 2 * 64;
  EXPECT_NE(refusal(tensors(), huge).find("split the batch"), std::string::npos);
}

TEST_F(Append, IsOneCandidateThatEveryArchitectureTakes) {
  for (const int arch : {80, 86, 87, 89, 90, 100, 120})
    for (int dim = 8; dim <= 256; dim += 8) {
      Problem p = append();
      p.head_dim = p.head_dim_v = dim;
      const Space space = enumerate(with_layout(p, Layout::kBshd), limits_of(arch));
      ASSERT_EQ(space.admitted.size(), 1u) << arch << " " << dim;
      EXPECT_EQ(space.admitted.front(), fallback(p, limits_of(arch)));
    }
  EXPECT_EQ(candidate_to_text(fallback(append(), limits_of(80))), "kv_append threads=128,blocks_per_sm=8");
  KvAppendConfig odd;
  odd.threads = 100;
  EXPECT_EQ(rejection_of(odd, traits_of(append()), limits_of(80)), Rejection::kAppendThreads);
  EXPECT_EQ(rejection_of(KvAppendConfig{}, traits_of(decode()), limits_of(80)), Rejection::kOtherOp);
}

/// The same call in C.
class AppendInC : public Append {
 protected:
  void SetUp() override {
    Append::SetUp();
    ft_problem_init(&problem, FT_FP16, 3, 8, 2, 4, 100, 64);
    problem.op = FT_DECODE;
    const auto at = [](std::uintptr_t address) { return reinterpret_cast<void*>(address); };
    given.k_new = at(0x1000), given.v_new = at(0x2000), given.k = at(0x3000), given.v = at(0x4000);
    given.k_new_strides = {512, 64, 128}, given.v_new_strides = {1024, 128, 256};
    given.lengths = static_cast<const int32_t*>(at(0xa000));
    given.rope = FT_ROPE_INTERLEAVED, given.rotary_dim = 32, given.rope_positions = 200;
    given.cos = static_cast<const float*>(at(0x5000)), given.sin = static_cast<const float*>(at(0x6000));
    given.q = at(0x7000), given.q_out = at(0xb000);
    workspace = at(kWorkspace);
  }
  ft_problem problem;
  ft_append_tensors given = FT_APPEND_TENSORS_INIT;
  void* workspace = nullptr;
};

TEST_F(AppendInC, CarriesEveryField) {
  ASSERT_EQ(ft_append(handle, &problem, &given, workspace, nullptr), FT_OK) << ft_last_error();
  EXPECT_EQ(params.k_new, given.k_new);
  EXPECT_EQ(params.v_new, given.v_new);
  EXPECT_EQ(params.k, given.k);
  EXPECT_EQ(params.v, given.v);
  EXPECT_EQ(params.q, given.q);
  EXPECT_EQ(params.q_out, given.q_out);
  EXPECT_EQ(params.lengths, given.lengths);
  EXPECT_EQ(params.cos, given.cos);
  EXPECT_EQ(params.sin, given.sin);
  EXPECT_EQ(params.k_new_strides, (Strides{512, 64, 128}));
  EXPECT_EQ(params.v_new_strides, (Strides{1024, 128, 256}));
  EXPECT_EQ(params.rope, Rope::kInterleaved);
  EXPECT_EQ(params.rotary_dim, 32);

  problem.page_size = 16;
  ASSERT_EQ(ft_problem_set_layout(&problem, FT_BSHD), FT_OK);
  given.page_table = given.lengths, given.num_pages = 30, given.max_pages = 9;
  ASSERT_EQ(ft_append(handle, &problem, &given, workspace, nullptr), FT_OK) << ft_last_error();
  EXPECT_EQ(params.page_table, given.page_table);
  EXPECT_EQ(params.num_pages, 30);
  EXPECT_EQ(params.max_pages, 9);
  EXPECT_EQ(params.page_log2, 4);
}

TEST_F(AppendInC, SaysWhatIsWrong) {
  const auto says = [](ft_status status, const char* sentence) {
    EXPECT_EQ(status, FT_INVALID_ARGUMENT);
    EXPECT_STREQ(ft_last_error(), sentence);
  };
  says(ft_append(nullptr, &problem, &given, workspace, nullptr), "engine is a null pointer");
  says(ft_append(handle, nullptr, &given, workspace, nullptr), "problem is a null pointer");
  says(ft_append(handle, &problem, nullptr, workspace, nullptr), "tensors is a null pointer");
  given.rope = 3;
  says(ft_append(handle, &problem, &given, workspace, nullptr),
       "rope 3 is unknown; the known ones are none, half_split, interleaved");
  EXPECT_EQ(launches, 0);
}

TEST_F(AppendInC, IsPreparedAsAProblemOfItsOwn) {
  ft_problem append = problem;
  append.op = FT_APPEND;
  const ft_problem both[] = {problem, append};
  ASSERT_EQ(ft_prepare(handle, both, 2), FT_OK) << ft_last_error();
  const int loads = device->loads;
  int stream = 0;
  device->capturing.insert(&stream);
  EXPECT_EQ(ft_append(handle, &problem, &given, workspace, &stream), FT_OK) << ft_last_error();
  EXPECT_EQ(device->loads, loads);
  char config[64];
  ASSERT_EQ(ft_config_text(handle, &append, config, sizeof(config), nullptr), FT_OK);
  EXPECT_STREQ(config, "kv_append threads=128,blocks_per_sm=8");
}

TEST_F(AppendInC, CppWrapperThrows) {
  api::Engine wrapped(std::exchange(handle, nullptr));
  wrapped.append(problem, given, workspace);
  EXPECT_EQ(launches, 1);
  given.rotary_dim = 7;
  EXPECT_THROW(wrapped.append(problem, given, workspace), Failure);
}

}  // namespace
}  // namespace flashtune
