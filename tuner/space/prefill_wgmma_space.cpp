// The axes of prefill_wgmma. The space is tile x stages x schedule, all else at what has usually paid; the other axes
// are alternatives to a candidate, one at a time.
#include <algorithm>
#include <array>

#include "runtime/dispatch/validity.h"
#include "runtime/families/families.h"
#include "tuner/space/family_space.h"

namespace flashtune {
namespace {

using Config = PrefillWgmmaConfig;

struct Schedule {
  Flow flow;
  Turns turns;
};
constexpr std::array<Schedule, 7> kSchedules = {{{Flow::kSerial, Turns::kFree},
                                                 {Flow::kSerial, Turns::kSoftmax},
                                                 {Flow::kOverlap, Turns::kFree},
                                                 {Flow::kOverlap, Turns::kProducts},
                                                 {Flow::kOverlap, Turns::kSoftmax},
                                                 {Flow::kBatched, Turns::kFree},
                                                 {Flow::kBatched, Turns::kProducts}}};

std::vector<Config> with_schedules(const std::vector<Config>& configs) {
  std::vector<Config> out;
  for (const Config& config : configs)
    for (const Schedule& schedule : kSchedules) {
      if (config.warpgroups == 1 && schedule.turns != Turns::kFree) continue;  // nobody to take turns with
      out.push_back(config);
      out.back().flow = schedule.flow, out.back().turns = schedule.turns;
    }
  return out;
}

/// Narrow key tiles cannot feed the tensor cores unless several blocks share an SM.
bool too_narrow(const Config& c, const KernelTraits& traits) {
  const int least = traits.head_dim <= 128 ? 64 : 32;
  return c.bc < least || (c.warpgroups == 1 && c.blocks_per_sm == 1 && traits.head_dim <= 128);
}

}  // namespace

std::vector<Config> prefill_wgmma_points(const KernelTraits& traits, const ArchLimits& limits) {
  if (traits.op != Op::kPrefill || traits.dtype == Dtype::kFp32 || limits.arch != 90) return {};
  std::vector<Config> configs = {Config{}};
  configs = cross(configs, &Config::warpgroups, [](const Config&) { return std::vector<int>{1, 2, 3}; });
  configs = cross(configs, &Config::blocks_per_sm, [](const Config& c) {
    return c.warpgroups == 1 ? std::vector<int>{1, 2, 3} : std::vector<int>{1};
  });
  configs = cross(configs, &Config::bc, [](const Config&) {
    std::vector<int> widths;
    for (int bc = 32; bc <= 256; bc += 16) widths.push_back(bc);
    return widths;
  });
  configs = cross(configs, &Config::stages, [&](const Config& c) {
    // One stage waits for every copy: only for tiles of which two do not fit. A fourth hides what three already do.
    Config two = c;
    two.stages = 2;
    if (lacks_smem(rejection_of(two, traits, limits))) return std::vector<int>{1};
    return traits.head_dim > 64 ? std::vector<int>{2, 3} : std::vector<int>{2, 3, 4};
  });
  std::vector<Config> points;
  for (Config c : with_schedules(configs)) {
    if (too_narrow(c, traits)) continue;
    c = with_usual(c, traits, limits);
    if (rejection_of(c, traits, limits) == Rejection::kRegisters) {
      Config shared = c;
      shared.p = POperand::kShared;  // which frees what P would take
      if (rejection_of(shared, traits, limits) == Rejection::kNone) c = shared;
    }
    points.push_back(c);
  }
  return points;
}

std::vector<Config> points_for(const Config& config, const Problem& problem, const ArchLimits&) {
  // A group of heads that fills a tile with few rows of each reads K and V once for all of them.
  Config packed = config;
  packed.pack_gqa = 1;
  const bool few_rows = problem.seq_q < query_rows(config);
  return few_rows && rejection_of(packed, problem) == Rejection::kNone ? std::vector<Config>{packed}
                                                                       : std::vector<Config>{config};
}

Rejection worth(const Config&, const KernelTraits&, const ArchLimits&) { return Rejection::kNone; }

Rejection worth(const Config& config, const Problem& problem) {
  const Rejection rejection = rejection_of(config, problem);
  if (rejection != Rejection::kNone) return rejection;
  // A key tile of which half is empty, where a narrower one exists.
  return config.bc > 64 && config.bc - 64 >= std::max(problem.seq_kv, 1) ? Rejection::kTileTooSmall : Rejection::kNone;
}

std::vector<Config> alternatives_of(const Config& config, const Problem& problem, const ArchLimits& limits) {
  std::vector<Config> found;
  const auto with = [&](auto Config::*field, auto value) {
    Config c = config;
    c.*field = value;
    if (c.order != BlockOrder::kSections) c.section_mib = 32;
    if (c == config || rejection_of(c, traits_of(problem), limits) != Rejection::kNone) return;
    if (rejection_of(c, problem) == Rejection::kNone) found.push_back(c);
  };
  for (const int on : {0, 1}) {
    with(&Config::lazy_rescale, on);
    with(&Config::rescale_early, on);
    with(&Config::l2_hints, on);
    with(&Config::pack_gqa, on);
    with(&Config::early, on);
  }
  for (const int quarters : {0, 1, 2, 4}) with(&Config::hold, quarters);
  for (const int q_stages : {1, 2}) with(&Config::q_stages, q_stages);
  for (const Tiles tiles : {Tiles::kPlain, Tiles::kStatic, Tiles::kDynamic}) with(&Config::tiles, tiles);
  for (const BlockOrder order : {BlockOrder::kGrid, BlockOrder::kLongestFirst, BlockOrder::kSections})
    with(&Config::order, order);
  for (const int mib : {4, 8, 16, 32, 64, 128}) with(&Config::section_mib, mib);
  for (const int regs : {24, 32, 40}) with(&Config::producer_regs, regs);
  for (const POperand p : {POperand::kRegisters, POperand::kShared}) with(&Config::p, p);
  for (const Epilogue epilogue : {Epilogue::kTma, Epilogue::kVector}) with(&Config::epilogue, epilogue);
  for (const int cluster : {1, 2}) with(&Config::cluster, cluster);
  return found;
}

bool promises_no_spill(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  constexpr int kMarginOfConsumer = 24;  // which has its registers for itself, and no addresses of copies to hold
  const Resources resources = resources_of(config, traits, limits);
  // A serial flow packs P where S was, which ptxas does not always find a way to do.
  return config.flow != Flow::kSerial && resources.registers + kMarginOfConsumer <= resources.register_cap;
}

}  // namespace flashtune
