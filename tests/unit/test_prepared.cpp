// Calls that were judged before: they allocate nothing, they answer as at first, and their number is bounded.
#include "runtime/launch/prepared.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "cache/error.h"
#include "flashtune/flashtune.h"
#include "runtime/api/c_api.h"
#include "runtime/dispatch/fallback.h"
#include "tests/support/counted_allocations.h"
#include "tests/support/fake_device.h"
#include "tests/support/free_device.h"

namespace flashtune {
namespace {

void* at(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

/// A device that notes what reaches it, as far as a launch tells.
struct Served {
  Served(int arch, ft_op op, ft_dtype dtype = FT_BF16, int page_size = 0) {
    auto owned = std::make_unique<FreeDevice>(fake_device_info(arch));
    device = owned.get();
    EngineOptions options;
    options.compile = [](const KernelSpec&) { return compiled_to("any"); };
    engine = make_engine_handle(std::move(owned), std::move(options));
    const bool decode = op == FT_DECODE;
    ft_problem_init(&problem, dtype, 2, 8, 2, decode ? 1 : 512, 512, 128);
    problem.op = op, problem.causal = 1, problem.page_size = page_size;
    EXPECT_EQ(ft_problem_set_layout(&problem, FT_BSHD), FT_OK);
    tensors.q = at(0x100000), tensors.k = at(0x200000), tensors.v = at(0x300000), tensors.o = at(0x400000);
    if (page_size == 0) return;
    tensors.page_table = static_cast<const int32_t*>(at(0x600000));
    tensors.max_pages = 512 / page_size, tensors.num_pages = 2 * tensors.max_pages;
  }
  ~Served() { ft_engine_destroy(engine); }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  ft_status forward() { return ft_forward(engine, &problem, &tensors, at(0x700000), nullptr); }
  long allocations_of(int calls) {
    const long before = allocations;
    for (int i = 0; i < calls; ++i) EXPECT_EQ(forward(), FT_OK) << ft_last_error();
    return allocations - before;
  }

  FreeDevice* device = nullptr;
  ft_engine* engine = nullptr;
  ft_problem problem{};
  ft_tensors tensors = FT_TENSORS_INIT;
};

struct Kind {
  int arch;
  ft_op op;
  ft_dtype dtype;
  int page_size;
};
const Kind kKinds[] = {{80, FT_PREFILL, FT_BF16, 0}, {90, FT_PREFILL, FT_BF16, 0}, {90, FT_DECODE, FT_BF16, 0},
                       {90, FT_DECODE, FT_BF16, 16}, {80, FT_PREFILL, FT_FP32, 0}, {80, FT_DECODE, FT_FP32, 0}};

TEST(Prepared, AllocatesNothingOnceItIsPrepared) {
  for (const Kind& kind : kKinds) {
    Served served(kind.arch, kind.op, kind.dtype, kind.page_size);
    ASSERT_EQ(ft_prepare(served.engine, &served.problem, 1), FT_OK) << ft_last_error();
    EXPECT_EQ(served.allocations_of(100), 0) << "arch " << kind.arch << " op " << kind.op;
    EXPECT_GE(served.device->launches, 100);
  }
}

TEST(Prepared, AllocatesNothingOnceItWasCalled) {
  for (const Kind& kind : kKinds) {
    Served served(kind.arch, kind.op, kind.dtype, kind.page_size);
    ASSERT_EQ(served.forward(), FT_OK) << ft_last_error();
    EXPECT_EQ(served.allocations_of(100), 0) << "arch " << kind.arch << " op " << kind.op;
  }
}

TEST(Prepared, DecidingAllocatesNothingForAProblemThatWasAskedFor) {
  Served served(90, FT_PREFILL);
  ft_decision decision = FT_DECISION_INIT;
  ASSERT_EQ(ft_decide(served.engine, &served.problem, &decision), FT_OK);
  const long before = allocations;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ft_decide(served.engine, &served.problem, &decision), FT_OK);
  EXPECT_EQ(allocations - before, 0);
  EXPECT_EQ(decision.grade, FT_DEFAULT);
}

TEST(Prepared, EncodesATensorOnceForEachPlaceItLiesAt) {
  Served served(90, FT_PREFILL);
  ASSERT_EQ(served.forward(), FT_OK) << ft_last_error();
  EXPECT_EQ(served.device->maps, 4) << "Q, K, V and O of prefill_wgmma";
  for (int i = 0; i < 10; ++i) ASSERT_EQ(served.forward(), FT_OK);
  EXPECT_EQ(served.device->maps, 4);
  served.tensors.k = at(0x900000);
  ASSERT_EQ(served.forward(), FT_OK);
  EXPECT_EQ(served.device->maps, 5);
}

TEST(Prepared, GrowsNoFurtherThanItsBound) {
  Served served(90, FT_DECODE);
  const auto grow = [&](int from, int to) {
    const long before = allocations;
    for (int keys = from; keys < to; ++keys) {
      served.problem.seq_kv = keys;
      EXPECT_EQ(ft_problem_set_layout(&served.problem, FT_BSHD), FT_OK);
      EXPECT_EQ(served.forward(), FT_OK) << ft_last_error();
    }
    return allocations - before;
  };
  ASSERT_GT(grow(1, 8000), 0);
  // All places are taken, and every length up to here belongs to a bucket that the dispatcher knows.
  EXPECT_EQ(grow(1, 8000), 0);
}

TEST(Prepared, JudgesTheTensorsOfEveryCall) {
  Served served(90, FT_DECODE, FT_BF16, 16);
  const auto says = [&](const char* words) {
    const long long launches = served.device->launches;
    EXPECT_EQ(served.forward(), FT_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ft_last_error()).find(words), std::string::npos) << ft_last_error();
    EXPECT_EQ(served.device->launches, launches);
  };
  const ft_tensors good = served.tensors;
  for (int again = 0; again < 2; ++again) {
    served.tensors.k = at(0x200008), says("k = 0x200008 is not aligned"), served.tensors = good;
    served.tensors.o = nullptr, says("o is a null pointer"), served.tensors = good;
    served.tensors.scale = 3e38f, says("softmax scale"), served.tensors = good;
    served.tensors.max_pages = 3, says("more than the 3 pages"), served.tensors = good;
    EXPECT_EQ(ft_forward(served.engine, &served.problem, &served.tensors, nullptr, nullptr), FT_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ft_last_error()).find("workspace"), std::string::npos) << ft_last_error();
    ASSERT_EQ(served.forward(), FT_OK) << ft_last_error();  // and then with a call that is known
  }
}

TEST(Prepared, RefusesAnOutputThatSharesMemoryThoughItIsPrepared) {
  Served served(80, FT_PREFILL);
  served.problem.o.head = 0;
  ASSERT_EQ(ft_prepare(served.engine, &served.problem, 1), FT_OK) << ft_last_error();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(served.forward(), FT_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ft_last_error()).find("share memory"), std::string::npos) << ft_last_error();
  }
}

TEST(Prepared, KeepsApartProblemsThatDifferInAnything) {
  const Problem base = with_layout(Problem{}, Layout::kBshd);
  std::vector<Problem> others = {base};
  const auto add = [&](auto&& change) { change(others.emplace_back(base)); };
  add([](Problem& p) { p.op = Op::kDecode; });
  add([](Problem& p) { p.dtype = Dtype::kFp32; });
  add([](Problem& p) { p.precision = Precision::kTf32; });
  add([](Problem& p) { p.causal = true; });
  for (int Problem::*member : {&Problem::batch, &Problem::heads, &Problem::kv_heads, &Problem::seq_q, &Problem::seq_kv,
                               &Problem::head_dim, &Problem::head_dim_v, &Problem::window, &Problem::page_size})
    add([member](Problem& p) { ++(p.*member); });
  for (Strides Problem::*tensor : {&Problem::q, &Problem::k, &Problem::v, &Problem::o})
    for (long long Strides::*stride : {&Strides::batch, &Strides::head, &Strides::row})
      add([=](Problem& p) { ++(p.*tensor.*stride); });
  std::set<std::uint64_t> hashes;
  for (const Problem& problem : others) hashes.insert(exact_hash(problem));
  EXPECT_EQ(hashes.size(), others.size());
}

/// An engine of a device that forbids what a capture forbids.
struct Captured {
  Captured() {
    auto owned = std::make_unique<FakeDevice>(fake_device_info(80));
    device = owned.get();
    device->register_kernel("attention", [](const Launch&) {});
    EngineOptions options;
    options.warn = [](const std::string&) {};
    options.compile = [](const KernelSpec&) { return compiled_to("attention"); };
    engine = std::make_unique<EngineImpl>(std::move(owned), std::move(options));
  }
  FakeDevice* device = nullptr;
  std::unique_ptr<EngineImpl> engine;
};

Problem problem_of(int seq) {
  Problem p;
  p.heads = p.kv_heads = 2, p.seq_q = p.seq_kv = seq;
  return with_layout(p, Layout::kBshd);
}

TEST(Prepared, FindsAKernelThatWasLoadedAfterItsProblemWasPlanned) {
  const Captured c;
  EXPECT_EQ(c.engine->workspace_bytes(problem_of(290)), 0u);
  c.engine->prepare({problem_of(300)});  // of the same bucket
  int stream = 0;
  c.device->capturing.insert(&stream);
  const Decision decision = c.engine->forward(problem_of(290), {0x1000, 0x2000, 0x3000, 0x4000}, 0, &stream);
  EXPECT_NE(decision.reason, DecisionReason::kNotPrepared);
  EXPECT_EQ(decision.candidate, c.engine->decide(problem_of(290)).candidate);
  EXPECT_EQ(c.device->captured.size(), 1u);
}

TEST(Prepared, ForgetsASubstituteOnceTheCaptureIsOver) {
  const Captured c;
  PrefillMmaConfig other;
  other.br = 32, other.bc = 32, other.warps = 2, other.blocks_per_sm = 6;
  const Tensors tensors{0x1000, 0x2000, 0x3000, 0x4000};
  c.engine->forward_with({other}, problem_of(300), tensors, 0, nullptr);
  int stream = 0;
  c.device->capturing.insert(&stream);
  EXPECT_EQ(c.engine->forward(problem_of(300), tensors, 0, &stream).candidate, Candidate{other});
  c.device->capturing.clear();
  const Decision decision = c.engine->forward(problem_of(300), tensors, 0, &stream);
  EXPECT_EQ(decision.candidate, fallback(problem_of(300), limits_of(80)));
  EXPECT_EQ(c.device->loads, 2);
}

TEST(Prepared, ServesThreadsWhoseLengthsGrowPastTheBound) {
  Served served(90, FT_DECODE);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&served, t] {
      ft_problem problem = served.problem;
      for (int step = 0; step < 3000; ++step) {
        problem.seq_kv = 1 + step + 2 * t;
        ft_problem_set_layout(&problem, FT_BSHD);
        for (int layer = 0; layer < 2; ++layer)
          ASSERT_EQ(ft_forward(served.engine, &problem, &served.tensors, at(0x700000), nullptr), FT_OK);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(served.device->launches, 4 * 3000 * 2);
}

}  // namespace
}  // namespace flashtune
