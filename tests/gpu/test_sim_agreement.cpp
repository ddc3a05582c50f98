// The simulated device against a GPU: the same kernels on the same random problems, equal but for rounding.
#include <gtest/gtest.h>

#include <random>

#include "cache/codec.h"
#include "cache/error.h"
#include "runtime/dispatch/validity.h"
#include "runtime/jit/kernel_compiler.h"
#include "tests/sim/bench.h"
#include "tests/support/cover.h"
#include "tests/support/gpu.h"
#include "tuner/space/family_space.h"
#include "tuner/sweep/compile_pool.h"

namespace flashtune {
namespace {

/// Small enough for the simulator, of any mask, group, dtype and layout.
Problem random_problem(std::mt19937& random) {
  const auto below = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
  const int kv_heads = 1 + below(2);
  Problem p =
      small_problem(kv_heads * (1 + below(3)), kv_heads, 1 + below(200), 1 + below(250), 8 * (1 + below(32)),
                    below(2) == 0, below(3) == 0 ? 1 + below(120) : 0, below(2) == 0 ? Dtype::kBf16 : Dtype::kFp16);
  p.batch = 1 + below(2);
  return with_layout(p, below(2) == 0 ? Layout::kBshd : Layout::kBhsd);
}

Problem random_decode(std::mt19937& random, Lengths& lengths) {
  const auto below = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
  const int kv_heads = 1 + below(2);
  Problem p = small_problem(kv_heads * (1 + below(8)), kv_heads, 1 + below(4), 1 + below(500), 8 * (1 + below(32)),
                            true, below(3) == 0 ? 1 + below(120) : 0, below(2) == 0 ? Dtype::kBf16 : Dtype::kFp16);
  p.op = Op::kDecode;
  p.batch = 1 + below(4);
  p.page_size = below(2) == 0 ? 16 << below(3) : 0;
  lengths.clear();
  for (int b = 0; b < p.batch; ++b) lengths.push_back(below(p.seq_kv + 1));
  return with_layout(p, below(2) == 0 ? Layout::kBshd : Layout::kBhsd);
}

class SimAgreement : public GpuTest {
 protected:
  int arch() const { return device().info().key.arch; }

  /// `count` random problems, each with a random config of the family.
  template <class Draw>
  void expect_agreement(Family family, int count, Draw draw);
};

/// One of a cover, or an alternative to it.
Candidate random_candidate(Family family, const Problem& p, const ArchLimits& limits, std::mt19937& random) {
  const std::vector<Candidate> cover = cover_of(family, p, limits);
  Candidate candidate = cover[random() % cover.size()];
  set_splits(candidate, 1 + static_cast<int>(random() % 5));
  if (auto* wgmma = std::get_if<PrefillWgmmaConfig>(&candidate.config))
    if (const auto others = alternatives_of(*wgmma, p, limits); !others.empty() && random() % 2 == 0)
      *wgmma = others[random() % others.size()];
  return candidate;
}

template <class Draw>
void SimAgreement::expect_agreement(Family family, int count, Draw draw) {
  struct Case {
    Problem problem;
    Lengths lengths;
    Candidate candidate;
  };
  const ArchLimits limits = limits_of(arch());
  std::mt19937 random(11);
  std::vector<Case> cases(static_cast<std::size_t>(count));
  const SimCompiler sim_compiler;
  KernelCompiler::Options options;
  options.max_cuda_major = device().info().cuda_version / 1000;
  const KernelCompiler gpu_compiler(options);
  // The host's compiler takes seconds for what NVRTC compiles in one: each of a case's two compiles is a ticket.
  CompilePool on_host(0), on_nvrtc(2);
  for (Case& c : cases) {
    c.problem = draw(random, c.lengths);
    c.candidate = random_candidate(family, c.problem, limits, random);
    const KernelSpec spec{c.candidate, traits_of(c.problem), arch()};
    on_host.submit([&sim_compiler, spec] { return sim_compiler.compile(spec); });
    on_nvrtc.submit([&gpu_compiler, spec] { return gpu_compiler.compile(spec); });
  }

  SimDevice sim(arch());
  int ticket = 0;
  for (const auto& [p, lengths, candidate] : cases) {
    const std::string what = candidate_to_text(candidate) + ", " + problem_to_text(p);
    AttentionCase on_sim(sim, p, InputKind::kNormal, lengths), on_gpu(device(), p, InputKind::kNormal, lengths);
    const auto load = [&, &candidate = candidate, &p = p](Device& on, const Compiled& compiled) {
      if (!compiled.ok) throw Error(ErrorKind::kCompile, what + "\n" + compiled.log);
      return load_candidate(on, compiled.cubin, candidate, traits_of(p), limits);
    };
    EXPECT_EQ(on_sim.fault_of(candidate, load(sim, on_host.wait(ticket))), "") << what;
    EXPECT_EQ(on_gpu.fault_of(candidate, load(device(), on_nvrtc.wait(ticket))), "") << what;
    ++ticket;

    const OutputFault fault = scan_output(p, on_sim.output(), on_gpu.output(), on_gpu.bounds(), lengths);
    EXPECT_FALSE(fault.found) << what << ": " << fault.why;
  }
}

TEST_F(SimAgreement, PrefillOutputsDifferByRoundingAlone) {
  expect_agreement(Family::kPrefillMma, 50, [](std::mt19937& random, Lengths&) { return random_problem(random); });
}

TEST_F(SimAgreement, WgmmaOutputsDifferByRoundingAlone) {
  if (arch() != 90) GTEST_SKIP() << "wgmma is an instruction of sm_90 alone";
  expect_agreement(Family::kPrefillWgmma, 20, [](std::mt19937& random, Lengths&) { return random_problem(random); });
}

TEST_F(SimAgreement, DecodeOutputsDifferByRoundingAlone) { expect_agreement(Family::kDecodeSplit, 50, random_decode); }

TEST_F(SimAgreement, DecodeOutputsOfCudaCoresDifferByRoundingAlone) {
  expect_agreement(Family::kDecodeScalar, 30, [](std::mt19937& random, Lengths& lengths) {
    Problem p = random_decode(random, lengths);
    if (random() % 3 != 0) p.dtype = Dtype::kFp32;
    return p;
  });
}

}  // namespace
}  // namespace flashtune
