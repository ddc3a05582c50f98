// The rule: cells of traits, variants that they take in turns, and the measured answers.
#include "tests/support/watched_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/exchange.h"
#include "cache/read_file.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/fp32_copies.h"
#include "runtime/dispatch/validity.h"
#include "tuner/space/presets.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

constexpr int kArchitectures[] = {80, 90};

/// What changes the code of a family beside its traits: fields that differ from those of the default of the problem.
/// The cells of sm_80 take them in turn, then those of sm_90 go on; what no cell has taken then goes round again.
struct Variants {
  Family family;
  std::vector<const char*> texts;
};
const std::vector<Variants>& all_variants() {
  static const std::vector<Variants> all = {
      {Family::kPrefillMma,
       {"", "lazy_rescale=0", "k_stages=2,v_stages=2", "q_in_regs=1", "q_in_regs=1,q_smem_reuse=1", "load=v_first",
        "smem=pad", "order=longest_first", "order=grid", "smem=xor", "br=64,bc=32,warps=4,k_stages=2,v_stages=1"}},
      {Family::kDecodeSplit,
       {"", "merge=kernel", "order=heads_first", "load=k_first", "lazy_rescale=0", "smem=pad", "br=32",
        "warps=1,stages=1", "merge=cluster", "smem=slabs", "merge=kernel,early=1", "merge=cluster,smem=slabs,early=3",
        "smem=slabs,load=k_first,early=0"}},
      {Family::kKvAppend, {"", "threads=256,blocks_per_sm=4"}},
      {Family::kPrefillWgmma,
       {"", "turns=free", "flow=serial,turns=free,rescale_early=0", "flow=batched", "turns=softmax",
        "p=shared,stages=1", "cluster=2", "rescale_early=0,hold=2", "l2_hints=1,epilogue=vector",
        "warpgroups=1,turns=free,bc=64"}},
      {Family::kPrefillTf32,
       {"", "lazy_rescale=0,k_stages=2,v_stages=2", "q_in_regs=1,load=v_first",
        "q_in_regs=1,q_smem_reuse=1,kv_layout=xor", "p=shared,copy=plain16,q_layout=xor",
        "copy=async4,q_layout=linear,kv_layout=linear", "copy=plain4,q_layout=rotate,kv_layout=rotate",
        "order=longest_first", "order=grid"}},
      // Rows by threads and by warps stand in no space, and the ladder has them in one loop each: here is the other,
      // on either architecture.
      {Family::kPrefillScalar,
       {"split=thread_row,br=64,bc=32,warps=2,row_lanes=16,copy=async16",
        "split=warp_row,br=32,bc=32,warps=8,row_lanes=16,copy=async4", "order=longest_first", "",
        "split=thread_row,br=64,bc=32,warps=2,row_lanes=16,copy=async16",
        "split=warp_row,br=32,bc=32,warps=8,row_lanes=16,copy=async4", "copy=plain16,layout=linear", "order=grid"}},
      {Family::kPrefillFragment,
       {"", "copy=async4,q_layout=xor,kv_layout=xor", "order=longest_first", "copy=plain16,q_layout=linear",
        "order=sections", "fragment=wmma,blocks_per_sm=2"}},
      {Family::kDecodeScalar,
       {"", "merge=kernel", "order=heads_first", "load=k_first", "lazy_rescale=0", "br=4", "br=16,warps=2",
        "warps=1,stages=1", "bc=8", "copy=async4", "merge=cluster", "merge=kernel,early=1", "merge=cluster,early=3",
        "early=0"}},
  };
  return all;
}

/// The same config with a register budget and copies that the problem takes on that architecture; nothing where there
/// is none.
std::optional<Candidate> legal(const Candidate& candidate, const Problem& problem, const ArchLimits& limits) {
  return std::visit(
      [&](auto config) -> std::optional<Candidate> {
        const auto fits = [&] { return rejection_of({config}, problem, limits) == Rejection::kNone; };
        const int own = config.blocks_per_sm;
        for (; config.blocks_per_sm >= 1; --config.blocks_per_sm)
          if (fits()) return Candidate{config};
        // Of few warps, one block has more registers than a thread can use.
        for (config.blocks_per_sm = own + 1; config.blocks_per_sm <= limits.max_blocks_per_sm; ++config.blocks_per_sm)
          if (fits()) return Candidate{config};
        return std::nullopt;
      },
      candidate.config);
}

/// What a variant changes: the built-in default where it is of this family, here or on the architecture before this
/// one; else the family's own.
std::optional<Candidate> base_of(Family family, const Problem& problem, int arch) {
  for (const int other : {arch, 80}) {
    const Candidate candidate = fallback(problem, limits_of(other));
    if (candidate.family() == family) return legal(candidate, problem, limits_of(arch));
  }
  const Candidate own = std::visit(
      [&](const auto& config) -> Candidate {
        if constexpr (requires { config.copy; })
          return {with_copies_for(config, problem)};
        else
          return {config};
      },
      default_constructed(family));
  return legal(own, problem, limits_of(arch));
}

KernelSpec spec_of(const Candidate& candidate, const Problem& problem, int arch) {
  return {compiled_part(candidate), traits_of(problem), arch};
}

struct Elements {
  Dtype dtype;
  Precision precision = Precision::kIeee;
};
constexpr Elements kElements[] = {{Dtype::kFp16},
                                  {Dtype::kBf16},
                                  {Dtype::kFp32, Precision::kIeee},
                                  {Dtype::kFp32, Precision::kTf32x3},
                                  {Dtype::kFp32, Precision::kTf32}};

/// Traits but for the head dim, with each type and mask; some of them no family takes. Windows are cut causally for
/// every other type, and for the others reach both ways. A cache has pages in every other cell, and on the next
/// architecture in those between.
std::vector<KernelTraits> cells_on(std::size_t architecture) {
  enum class Mask { kNone, kCausal, kWindow };
  std::vector<KernelTraits> cells;
  for (const Op op : {Op::kPrefill, Op::kDecode, Op::kAppend})
    for (std::size_t i = 0; i < std::size(kElements); ++i)
      for (const Mask mask : {Mask::kNone, Mask::kCausal, Mask::kWindow}) {
        const bool windowed = mask == Mask::kWindow, causal = mask == Mask::kCausal || (windowed && i % 2 == 0);
        const bool paged = has_cache(op) && (i + static_cast<std::size_t>(mask) + architecture) % 2 != 0;
        cells.push_back({kElements[i].dtype, 0, 0, causal, windowed, paged, op, kElements[i].precision});
      }
  return cells;
}

/// A problem of the cell that the family takes, at the head dim whose turn it is or at the next one; nothing where the
/// family computes none such.
std::optional<Problem> problem_of(Family family, KernelTraits cell, int arch, std::size_t turn) {
  const bool is_wide = cell.dtype == Dtype::kFp32;
  // One whose rows fill no line and, of fp32, no chunk of a copy.
  const int dims[] = {128, 64, is_wide ? 69 : 72, is_wide ? 96 : 256};
  for (std::size_t i = 0; i < std::size(dims); ++i) {
    cell.head_dim = cell.head_dim_v = dims[(turn + i) % std::size(dims)];
    const Problem problem = typical_problem(cell);
    // Traits that no problem has: a mask of append, rounded products of decode.
    if (fault_of(problem) != ProblemFault::kNone || !(traits_of(problem) == cell)) continue;
    if (base_of(family, problem, arch)) return problem;
  }
  return std::nullopt;
}

std::optional<Candidate> variant_of(const Candidate& base, const char* text, const Problem& problem, int arch) {
  return legal({config_from_text(text, base.config)}, problem, limits_of(arch));
}

std::vector<KernelSpec> cells_of(const Variants& variants) {
  std::list<const char*> waiting(variants.texts.begin(), variants.texts.end());
  std::vector<std::pair<Problem, int>> taken;  // cells, with their architecture
  std::vector<KernelSpec> specs;
  // The first of the variants waiting that the problem takes; whether there was one.
  const auto take = [&](const Problem& problem, int arch, const Candidate& base) {
    for (auto text = waiting.begin(); text != waiting.end(); ++text)
      if (const auto candidate = variant_of(base, *text, problem, arch)) {
        waiting.erase(text);
        specs.push_back(spec_of(*candidate, problem, arch));
        return true;
      }
    return false;
  };
  std::size_t turn = 0;
  for (std::size_t i = 0; i < std::size(kArchitectures); ++i)
    for (const KernelTraits& cell : cells_on(i)) {
      const int arch = kArchitectures[i];
      if (const auto problem = problem_of(variants.family, cell, arch, turn)) {
        ++turn;
        const Candidate base = base_of(variants.family, *problem, arch).value();
        if (!take(*problem, arch, base)) specs.push_back(spec_of(base, *problem, arch));
        taken.emplace_back(*problem, arch);
      }
    }
  for (std::size_t before = 0; before != waiting.size();) {
    before = waiting.size();
    for (auto cell = taken.rbegin(); cell != taken.rend() && !waiting.empty(); ++cell)
      take(cell->first, cell->second, base_of(variants.family, cell->first, cell->second).value());
  }
  if (!waiting.empty()) {
    const auto& [problem, arch] = taken.front();
    const Candidate refused{config_from_text(waiting.front(), base_of(variants.family, problem, arch).value().config)};
    throw Error(ErrorKind::kInternal,
                fmt::format("no cell takes {}, a variant of the default: {}; mend the list of variants",
                            candidate_to_text(refused), text_of(rejection_of(refused, problem, limits_of(arch)))));
  }
  return specs;
}

/// What the README's tables ran on an H200. Of many configs few are kept: of each family so many that each value of
/// each field stays, and of each traits the one that ran most often.
class Answers {
 public:
  void add(const KernelTraits& traits, const Candidate& candidate) {
    const KernelSpec spec{compiled_part(candidate), traits, kArch};
    const Rejection rejection = rejection_of(spec.candidate, traits, limits_of(kArch));
    if (rejection != Rejection::kNone)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("the README's tables ran {}, which is no longer legal at head dim {}: {}",
                              candidate_to_text(spec.candidate), traits.head_dim, text_of(rejection)));
    const auto same = std::find_if(runs_.begin(), runs_.end(), [&](const Run& run) { return run.spec == spec; });
    if (same == runs_.end())
      runs_.push_back({spec, 1});
    else
      ++same->times;
  }
  std::vector<KernelSpec> thinned() const {
    std::vector<KernelSpec> kept;
    Space all;
    for (const Run& run : runs_) {
      all.admitted.push_back(run.spec.candidate);
      const bool is_usual = std::none_of(runs_.begin(), runs_.end(), [&](const Run& other) {
        return other.spec.traits == run.spec.traits && other.times > run.times;
      });
      const auto has_traits = [&](const KernelSpec& spec) { return spec.traits == run.spec.traits; };
      if (is_usual && std::none_of(kept.begin(), kept.end(), has_traits)) kept.push_back(run.spec);
    }
    for (const Candidate& candidate : value_cover(all))
      kept.push_back(std::find_if(runs_.begin(), runs_.end(), [&](const Run& run) {
                       return run.spec.candidate == candidate;
                     })->spec);
    return kept;
  }

 private:
  struct Run {
    KernelSpec spec;
    int times;
  };
  static constexpr int kArch = 90;
  std::vector<Run> runs_;
};

std::vector<KernelSpec> of_the_readme() {
  const std::filesystem::path folder = std::filesystem::path(FLASHTUNE_SOURCE_DIR) / "benchmarks";
  const auto text = [&](const char* name) {
    return read_text(folder / name, std::size_t{16} << 20, "a file of results");
  };
  Answers answers;
  const nlohmann::json prefill = nlohmann::json::parse(text("results/h200-prefill.json"));
  for (const auto& cell : prefill.at("cells")) {
    const int dim = cell.at("head_dim");
    answers.add({Dtype::kBf16, dim, dim, cell.at("causal").get<bool>()},
                candidate_from_text(cell.at("config").get<std::string>()));
  }
  const nlohmann::json fp32 = nlohmann::json::parse(text("results/h200-fp32.json"));
  for (const auto& cell : fp32.at("cells")) {
    KernelTraits traits{Dtype::kFp32, cell.at("head_dim"), cell.at("head_dim")};
    traits.precision = require_enum<Precision>("precision", cell.at("precision").get<std::string>());
    answers.add(traits, candidate_from_text(cell.at("config").get<std::string>()));
  }
  for (const Best& best : records_of_export(text("tuned/h200-decode.json")).bests)
    answers.add(traits_of(best.problem), best.candidate);
  return answers.thinned();
}

/// A preset's blocks per SM are a wish, and most of them spill for it.
Rung with_all_registers(Rung rung) {
  std::visit([](auto& config) { config.blocks_per_sm = 1; }, rung.candidate.config);
  return rung;
}

/// Where a kernel stands in the table.
std::string place_of(const KernelSpec& spec) {
  return fmt::format("{} {:02} {} {}", spec.arch, static_cast<int>(spec.candidate.family()),
                     problem_to_text(typical_problem(spec.traits)), candidate_to_text(spec.candidate));
}

}  // namespace

Problem typical_problem(const KernelTraits& t) {
  Problem p;
  p.op = t.op, p.dtype = t.dtype, p.precision = t.precision;
  p.head_dim = t.head_dim, p.head_dim_v = t.head_dim_v;
  p.causal = t.causal, p.window = t.windowed ? 256 : 0, p.page_size = t.paged ? 64 : 0;
  p.heads = 8, p.kv_heads = has_cache(t.op) ? 2 : 8;
  p.seq_q = !has_cache(t.op) ? 1024 : t.causal ? 4 : 1;  // one new row is not cut
  p.seq_kv = 1024;
  return with_layout(p, Layout::kBshd);
}

std::vector<KernelSpec> hopper_defaults() {
  std::vector<KernelSpec> specs;
  for (const int head_dim : {64, 96, 128, 192, 256})
    for (const bool causal : {false, true}) {
      const Problem problem = typical_problem({Dtype::kBf16, head_dim, head_dim, causal});
      specs.push_back(spec_of(fallback(problem, limits_of(90)), problem, 90));
    }
  return specs;
}

std::vector<KernelSpec> ladder_presets() {
  std::vector<KernelSpec> specs;
  for (const Rung& rung : ladder_rungs())
    for (const int arch : kArchitectures) {
      if (rung.kind != Rung::Kind::kPreset) continue;
      // Rows of exact fp32 under masks; fragments at either of the head dims that they were written for.
      const bool exact = !rung.sixteen_bits && rung.precision == Precision::kIeee;
      const int head_dim = !exact && arch == 80 ? 64 : 128;
      const KernelTraits sizes{rung.sixteen_bits ? Dtype::kFp16 : Dtype::kFp32, head_dim, head_dim, exact,
                               exact && arch == 90};
      const Problem problem = problem_on(rung, typical_problem(sizes)).value();
      const PresetPoint point = preset_point(with_all_registers(rung), problem, limits_of(arch));
      if (!point.candidate)
        throw Error(ErrorKind::kInternal,
                    fmt::format("the preset {} cannot be had on sm_{}: {}", rung.name, arch, point.why_not));
      specs.push_back(spec_of(*point.candidate, problem, arch));
    }
  return specs;
}

std::vector<KernelSpec> watched_kernels() {
  std::vector<KernelSpec> specs;
  const auto add = [&](const std::vector<KernelSpec>& more) { specs.insert(specs.end(), more.begin(), more.end()); };
  for (const Variants& variants : all_variants()) add(cells_of(variants));
  add(hopper_defaults());
  add(ladder_presets());
  add(of_the_readme());
  std::vector<std::pair<std::string, KernelSpec>> placed;
  placed.reserve(specs.size());
  for (const KernelSpec& spec : specs) placed.emplace_back(place_of(spec), spec);
  std::sort(placed.begin(), placed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  specs.clear();
  for (const auto& [place, spec] : placed)
    if (specs.empty() || !(specs.back() == spec)) specs.push_back(spec);
  return specs;
}

}  // namespace flashtune
