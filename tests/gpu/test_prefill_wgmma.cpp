// Family prefill_wgmma on a GPU: every mask, dtype, head dim, group and layout against the oracle, over a cover of its
// configs and their alternatives; lengths beside its tiles; and the same bits whatever the order of tiles.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/families/families.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"
#include "tests/sim/bench.h"
#include "tests/support/attention_gpu.h"
#include "tests/support/cover.h"
#include "tuner/tensors/device_inputs.h"
#include "tuner/tensors/fence.h"

namespace flashtune {
namespace {

constexpr int kGroup = 4;  // a power of two, so that its heads may be packed

class PrefillWgmmaOnGpu : public AttentionOnGpu {
 protected:
  void SetUp() override {
    AttentionOnGpu::SetUp();
    if (IsSkipped() || limits().arch == 90) return;
    // The words that ctest takes for a skip, as in gpu.h.
    GTEST_SKIP() << "ALL TESTS SKIPPED: wgmma is an instruction of sm_90 alone, and this GPU is " << device().info().id
                 << " of sm_" << limits().arch;
  }

  /// The built-in default, which is of this family for all that it takes.
  PrefillWgmmaConfig default_for(const Problem& problem) {
    const Candidate standing = fallback(problem, limits());
    const auto* config = std::get_if<PrefillWgmmaConfig>(&standing.config);
    EXPECT_NE(config, nullptr) << problem_to_text(problem) << " is left to " << name_of(standing.family());
    return config != nullptr ? *config : PrefillWgmmaConfig{};
  }

  /// A config whose tile and schedule `text` names, the rest as usual.
  PrefillWgmmaConfig usual(const char* text, const Problem& problem) {
    const Candidate named = candidate_from_text(std::string("prefill_wgmma ") + text);
    return with_usual(std::get<PrefillWgmmaConfig>(named.config), traits_of(problem), limits());
  }
};

TEST_F(PrefillWgmmaOnGpu, IsRightForEveryHeadDimMaskAndDtype) {
  std::vector<Assignment> all;
  int turn = 0;
  for (const int head_dim : {8, 24, 40, 64, 72, 80, 96, 112, 120, 128, 136, 160, 192, 200, 248, 256})
    for (const Masking& mask : kMaskings) {
      // Both types at the head dims of most problems; elsewhere they take turns.
      const bool both = head_dim == 96 || head_dim % 64 == 0;
      const Dtype other = ++turn % 2 == 0 ? Dtype::kFp16 : Dtype::kBf16;
      for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16}) {
        if (!both && dtype != other) continue;
        const Problem p = grouped_problem(head_dim, mask, dtype, kGroup);
        all.push_back({p, {{default_for(p)}}, default_scale(p)});
      }
    }
  expect_right(all);
}

TEST_F(PrefillWgmmaOnGpu, IsRightInEveryPairOfAxisValues) {
  // Orders of tiles are for a causal mask, clusters for none; 72 fills no slab, 256 leaves one buffer of Q.
  const std::array<Problem, 4> problems = {
      grouped_problem(64, {true, 0}, Dtype::kBf16, kGroup), grouped_problem(128, {false, 0}, Dtype::kFp16, kGroup),
      grouped_problem(72, {true, 70}, Dtype::kBf16, kGroup), grouped_problem(256, {true, 0}, Dtype::kFp16, kGroup)};
  for (const Problem& p : problems) expect_right(p, cover_with_alternatives(Family::kPrefillWgmma, p, limits()));
}

TEST_F(PrefillWgmmaOnGpu, TakesAnyLayoutOfStrides) {
  std::vector<Assignment> all;
  for (const int head_dim : {64, 104})
    for (const Problem& p : problems_of_every_layout(head_dim, kGroup)) {
      PrefillWgmmaConfig from_registers = default_for(p), packed = default_for(p);
      from_registers.epilogue = Epilogue::kVector;
      packed.pack_gqa = 1;
      all.push_back({p, {{default_for(p)}, {from_registers}, {packed}}, default_scale(p)});
    }
  expect_right(all);
}

TEST_F(PrefillWgmmaOnGpu, TakesAnySoftmaxScale) {
  std::vector<Assignment> all;
  const Problem p = grouped_problem(64, {true, 0}, Dtype::kBf16, kGroup);
  PrefillWgmmaConfig lazy = default_for(p);
  lazy.lazy_rescale = 1;
  for (const float scale : {1.f, 0.01f, 0.f, -0.125f}) all.push_back({p, {{default_for(p)}, {lazy}}, scale});
  expect_right(all);
}

TEST_F(PrefillWgmmaOnGpu, PacksTheHeadsOfAGroupInATile) {
  constexpr Epilogue kEpilogues[] = {Epilogue::kTma, Epilogue::kVector};
  std::vector<Assignment> all;
  int turn = 0;
  for (const int group : {2, 4, 8, 16, 32, 64})
    for (const int seq_q : {1, 5, 70}) {
      ++turn;
      Problem p = grouped_problem(turn % 3 == 0 ? 128 : 64, kMaskings[turn % 4],
                                  turn % 2 == 0 ? Dtype::kFp16 : Dtype::kBf16, group);
      p.seq_q = seq_q;
      p = with_layout(p, turn % 2 == 0 ? Layout::kBhsd : Layout::kBshd);
      PrefillWgmmaConfig config = default_for(p);
      config.pack_gqa = 1;
      config.epilogue = kEpilogues[turn % 2];
      all.push_back({p, {{config}}, default_scale(p)});
    }
  expect_right(all);
}

/// Every row against the oracle, where a tile is full, lacks a row or a key, or has one too many.
TEST_F(PrefillWgmmaOnGpu, IsRightForLengthsBesideItsTiles) {
  constexpr const char* kShapes[] = {
      "warpgroups=3,bc=128,stages=2,turns=products",
      "warpgroups=2,bc=48,stages=3,flow=batched,turns=products,epilogue=vector",
      "warpgroups=2,bc=64,stages=1,turns=softmax,p=shared,hold=2",
      "warpgroups=1,bc=64,stages=2,flow=serial,blocks_per_sm=2",
  };
  for (const Masking& mask : kMaskings)
    for (const char* shape : kShapes) {
      const KernelTraits traits = traits_of(grouped_problem(64, mask, Dtype::kBf16, kGroup));
      PrefillWgmmaConfig config = usual(shape, grouped_problem(64, mask, Dtype::kBf16, kGroup));
      const Compiled compiled = compile({config}, grouped_problem(64, mask, Dtype::kBf16, kGroup));
      ASSERT_TRUE(compiled.ok) << shape << "\n" << compiled.log;
      const LoadedCandidate loaded = load_candidate(device(), compiled.cubin, {config}, traits, limits());
      const int rows = query_rows(config), keys = config.bc;
      const int lengths[][2] = {{1, 1},
                                {1, keys},
                                {1, keys + 1},
                                {1, 0},
                                {rows - 1, 2 * keys - 1},
                                {rows, 2 * keys},
                                {rows + 1, 2 * keys + 1},
                                {rows / 2 + 1, 3 * keys},
                                {2 * rows + 1, keys - 1},  // rows without keys where the mask is causal
                                {rows + 1, 1},
                                {65, 0}};
      for (const auto& [seq_q, seq_kv] : lengths)
        for (const int packed : {0, 1}) {
          const Problem p = small_problem(2 * kGroup, 2, seq_q, seq_kv, 64, mask.causal, mask.window, Dtype::kBf16);
          config.pack_gqa = packed;
          AttentionCase one(device(), p);
          EXPECT_EQ(one.fault_of({config}, loaded), "") << candidate_to_text({config}) << ", " << problem_to_text(p);
        }
    }
}

/// A prefill whose output is compared to the bit from launch to launch.
class BitsOfOutput {
 public:
  struct Bits {
    std::vector<std::uint16_t> o;
    std::vector<std::uint32_t> lse;
    bool operator==(const Bits&) const = default;
  };

  BitsOfOutput(Device& device, const Problem& problem)
      : device_(device),
        problem_(problem),
        inputs_(device, problem, make_inputs(problem, InputKind::kNormal, 5)),
        o_(device, 2 * span_of(problem.o, problem.batch, problem.seq_q, problem.heads, problem.head_dim_v)),
        lse_(device, 4 * static_cast<std::size_t>(problem.batch) * static_cast<std::size_t>(problem.heads) *
                         static_cast<std::size_t>(problem.seq_q)),
        workspace_(device) {}

  Bits of(const Candidate& candidate, const LoadedCandidate& loaded, const ArchLimits& limits) {
    device_.fill(o_.get(), kPoison, o_.size());
    device_.fill(lse_.get(), kPoison, lse_.size());
    const Plan plan = make_plan(candidate, problem_, limits);
    Tensors tensors = inputs_.tensors(default_scale(problem_));
    tensors.o = o_.get(), tensors.lse = lse_.get();
    launch_plan(device_, loaded, plan, tensors, workspace_.poisoned(plan), nullptr);
    device_.synchronize();
    Bits bits{std::vector<std::uint16_t>(o_.size() / 2), std::vector<std::uint32_t>(lse_.size() / 4)};
    device_.copy_out(bits.o.data(), o_.get(), o_.size());
    device_.copy_out(bits.lse.data(), lse_.get(), lse_.size());
    return bits;
  }

 private:
  Device& device_;
  Problem problem_;
  DeviceInputs inputs_;
  DeviceBuffer o_, lse_;
  Workspace workspace_;
};

/// `config` with all that decides only which block takes which tile, and when.
std::vector<Candidate> reordered(const PrefillWgmmaConfig& config, const Problem& problem, const ArchLimits& limits) {
  std::vector<Candidate> found;
  for (const Tiles tiles : {Tiles::kPlain, Tiles::kStatic, Tiles::kDynamic})
    for (const BlockOrder order : {BlockOrder::kGrid, BlockOrder::kLongestFirst, BlockOrder::kSections})
      for (const int mib : {1, 2, 4, 32, 128})
        for (const int early : {0, 1}) {
          PrefillWgmmaConfig c = config;
          c.tiles = tiles, c.order = order, c.section_mib = mib, c.early = early;
          if (rejection_of({c}, problem, limits) == Rejection::kNone) found.push_back({c});
        }
  return found;
}

TEST_F(PrefillWgmmaOnGpu, GivesTheSameBitsInEveryOrderOfTiles) {
  // More tiles than an H200 has blocks, and K and V of a head of 0.7 MiB: sections of one head, of some and of all.
  for (const Masking& mask : kMaskings)
    for (const int head_dim : {64, 128}) {
      Problem p = grouped_problem(head_dim, mask, Dtype::kBf16, kGroup);
      p.batch = 6, p.seq_q = p.seq_kv = 1400;
      p = with_layout(p, Layout::kBshd);
      const Candidate standing{default_for(p)};
      const Compiled compiled = compile(standing, p);
      ASSERT_TRUE(compiled.ok) << compiled.log;
      const LoadedCandidate loaded = load_candidate(device(), compiled.cubin, standing, traits_of(p), limits());
      BitsOfOutput output(device(), p);
      const BitsOfOutput::Bits expected = output.of(standing, loaded, limits());
      const std::vector<Candidate> all = reordered(default_for(p), p, limits());
      EXPECT_EQ(all.size(), mask.causal && mask.window == 0 ? 42u : 6u);
      for (const Candidate& candidate : all) {
        ASSERT_EQ(compiled_part(candidate), compiled_part(standing)) << "another kernel";
        for (int again = 0; again < 2; ++again)  // blocks that ask for tiles get others each time
          EXPECT_TRUE(output.of(candidate, loaded, limits()) == expected)
              << candidate_to_text(candidate) << " differs from " << candidate_to_text(standing) << " on "
              << problem_to_text(p);
      }
    }
}

}  // namespace
}  // namespace flashtune
