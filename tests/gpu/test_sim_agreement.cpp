// The simulated device against a GPU: the same kernels on the same random problems, equal but for rounding.
#include <gtest/gtest.h>

#include <random>

#include "cache/codec.h"
#include "cache/error.h"
#include "runtime/dispatch/plan.h"
#include "runtime/jit/kernel_compiler.h"
#include "tests/sim/bench.h"
#include "tests/support/gpu.h"
#include "tuner/space.h"

namespace flashtune {
namespace {

constexpr int kProblems = 50;  // of each family

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
  /// Random problems of one family, each with a random config of its cover.
  template <class Draw>
  void expect_agreement(Draw draw);
};

template <class Draw>
void SimAgreement::expect_agreement(Draw draw) {
  const int arch = device().info().key.arch;
  SimDevice sim(arch);
  const SimCompiler sim_compiler;
  KernelCompiler::Options options;
  options.max_cuda_major = device().info().cuda_version / 1000;
  const KernelCompiler gpu_compiler(options);
  std::mt19937 random(11);
  for (int i = 0; i < kProblems; ++i) {
    Lengths lengths;
    const Problem p = draw(random, lengths);
    const std::vector<Candidate> cover = pairwise_cover(enumerate(traits_of(p), limits_of(arch)));
    Candidate candidate = cover[random() % cover.size()];
    if (auto* decode = std::get_if<DecodeSplitConfig>(&candidate.config)) decode->splits = 1 + i % 5;
    const std::string what = candidate_to_text(candidate) + ", " + problem_to_text(p);

    AttentionCase on_sim(sim, p, InputKind::kNormal, lengths), on_gpu(device(), p, InputKind::kNormal, lengths);
    const SimKernel sim_kernel = load_kernel(sim, sim_compiler, candidate, traits_of(p));
    EXPECT_EQ(on_sim.fault_of(sim_kernel), "") << what;
    const Compiled compiled = gpu_compiler.compile({candidate, traits_of(p), arch});
    ASSERT_TRUE(compiled.ok) << what << "\n" << compiled.log;
    const LoadedCandidate loaded = load_candidate(device(), compiled.cubin, candidate, traits_of(p), limits_of(arch));
    EXPECT_EQ(on_gpu.fault_of(candidate, loaded), "") << what;

    const OutputFault fault = scan_output(p, on_sim.output(), on_gpu.output(), on_gpu.bounds(), lengths);
    EXPECT_FALSE(fault.found) << what << ": " << fault.why;
  }
}

TEST_F(SimAgreement, PrefillOutputsDifferByRoundingAlone) {
  expect_agreement([](std::mt19937& random, Lengths&) { return random_problem(random); });
}

TEST_F(SimAgreement, DecodeOutputsDifferByRoundingAlone) { expect_agreement(random_decode); }

}  // namespace
}  // namespace flashtune
