// Tables and JSON lines of sweep events.
#include "tuner/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cache/codec.h"
#include "cache/json.h"

namespace flashtune {
namespace {

double tflops(const Problem& problem, double us) { return us > 0 ? flops_of(problem) / us * 1e-6 : 0; }

/// Lines of cells, each column as wide as its widest cell; the first is flush left, the others right.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = fmt::format("{:<{}}", row.front(), widths.front());
    for (std::size_t i = 1; i < row.size(); ++i) line += fmt::format("  {:>{}}", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string counts(const std::map<Outcome, int>& outcomes) {
  std::string text;
  int total = 0;
  for (const auto& [outcome, count] : outcomes) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name_of(outcome));
    total += count;
  }
  return fmt::format("{} candidate{}{}{}", total, total == 1 ? "" : "s", total == 0 ? "" : ": ", text);
}

std::vector<std::string> row_of(const Trial& trial, const Candidate& standing, double default_us) {
  const Timing& t = trial.timing;
  const bool modelled = trial.outcome == Outcome::kModelled;
  // A model has no spread.
  const std::string spread =
      modelled || t.median_us <= 0 ? "-" : fmt::format("{:.1f}%", 100 * t.spread_us / t.median_us);
  const std::string ratio = default_us > 0 && t.median_us > 0 ? fmt::format("{:.3f}x", default_us / t.median_us) : "-";
  return {short_config(trial.key.candidate) + (trial.key.candidate == standing ? " (default)" : ""),
          fmt::format("{:.2f}", t.median_us),
          spread,
          fmt::format("{:.1f}", tflops(trial.key.problem, t.median_us)),
          ratio,
          name_of(modelled ? Grade::kModelled : Grade::kMeasured)};
}

Json json_of(const ProblemStarted& event) {
  Json rejected = Json::object();
  for (const auto& [rejection, count] : event.rejected) rejected[text_of(rejection)] = count;
  return {{"event", "problem_started"},     {"index", event.index},
          {"count", event.count},           {"problem", problem_to_json(event.problem)},
          {"enumerated", event.enumerated}, {"admitted", event.admitted},
          {"known", event.known},           {"rejected", rejected}};
}

Json json_of(const Progress& event) {
  return {{"event", "progress"}, {"stage", event.stage}, {"done", event.done}, {"total", event.total}};
}

Json json_of(const TrialDone& event) {
  return {{"event", "trial"}, {"known", event.known}, {"trial", trial_to_json(event.trial)}};
}

Json json_of(const ProblemDone& event) {
  Json outcomes = Json::object();
  for (const auto& [outcome, count] : event.outcomes) outcomes[name_of(outcome)] = count;
  Json ranked = Json::array();
  for (const Trial& trial : event.ranked)
    ranked.push_back({{"candidate", candidate_to_json(trial.key.candidate)},
                      {"median_us", trial.timing.median_us},
                      {"spread_us", trial.timing.spread_us},
                      {"tflops", tflops(event.problem, trial.timing.median_us)},
                      {"outcome", name_of(trial.outcome)}});
  return {{"event", "problem_done"},
          {"problem", problem_to_json(event.problem)},
          {"default", candidate_to_json(event.standing)},
          {"best", event.best ? best_to_json(*event.best) : Json()},
          {"outcomes", outcomes},
          {"seconds", event.seconds},
          {"budget_ended", event.budget_ended},
          {"skipped", event.skipped.empty() ? Json() : Json(event.skipped)},
          {"ranked", ranked}};
}

}  // namespace

std::string short_problem(const Problem& p) {
  std::string text = p.op == Op::kPrefill ? "" : fmt::format("{} ", name_of(p.op));
  text += fmt::format("b{} h{}", p.batch, p.heads);
  if (p.kv_heads != p.heads) text += fmt::format("/{}", p.kv_heads);
  text += p.seq_q == p.seq_kv ? fmt::format(" s{}", p.seq_q) : fmt::format(" s{}x{}", p.seq_q, p.seq_kv);
  text += fmt::format(" d{}", p.head_dim);
  if (p.head_dim_v != p.head_dim) text += fmt::format("/{}", p.head_dim_v);
  text += p.causal ? " causal" : " full";
  if (p.window > 0) text += fmt::format(" w{}", p.window);
  text += fmt::format(" {}", name_of(p.dtype)) + optional_words(p);
  if (layout_of(p) != Layout::kBshd) text += fmt::format(" {}", name_of(layout_of(p)));
  return text;
}

std::string short_problem_of_rungs(Problem problem) {
  problem.precision = Problem{}.precision;  // which texts leave out
  return short_problem(problem);
}

std::string short_config(const Candidate& candidate) {
  return std::visit(
      [](const auto& config) {
        auto copy = config;
        std::decay_t<decltype(config)> plain;
        std::vector<int> defaults;
        visit_fields(plain, [&](const char*, auto& field) { defaults.push_back(static_cast<int>(field)); });
        std::string text;
        std::size_t i = 0;
        visit_fields(copy, [&](const char* name, auto& field) {
          const int value = static_cast<int>(field);
          constexpr std::size_t kAlways = 3;  // the tile and its warps
          if (i < kAlways || value != defaults[i]) {
            text += text.empty() ? "" : " ";
            if constexpr (std::is_enum_v<std::decay_t<decltype(field)>>)
              text += fmt::format("{}={}", name, name_of(field));
            else
              text += fmt::format("{}={}", name, value);
          }
          ++i;
        });
        return text;
      },
      candidate.config);
}

std::string ranked_table(const ProblemDone& done, int rows) {
  std::string text = short_problem(done.problem) + "\n";
  if (!done.skipped.empty()) text += fmt::format("skipped: {}\n", done.skipped);
  const std::size_t shown = std::min(done.ranked.size(), static_cast<std::size_t>(std::max(0, rows)));
  const double default_us = done.best ? done.best->default_us : 0;
  if (shown > 0) {
    const bool modelled = done.ranked.front().outcome == Outcome::kModelled;
    std::vector<std::vector<std::string>> table = {
        {"config", modelled ? "model us" : "median us", "spread", "TFLOP/s", "vs default", "grade"}};
    for (std::size_t i = 0; i < shown; ++i) table.push_back(row_of(done.ranked[i], done.standing, default_us));
    // The default is worth a line wherever it ranks: it is what the others are compared with.
    const auto standing = std::find_if(done.ranked.begin(), done.ranked.end(),
                                       [&](const Trial& t) { return t.key.candidate == done.standing; });
    if (standing != done.ranked.end() && standing - done.ranked.begin() >= static_cast<std::ptrdiff_t>(shown))
      table.push_back(row_of(*standing, done.standing, default_us));
    text += aligned(table);
    if (modelled)
      text += fmt::format("modelled: compiled and ranked by a cost model for {}; no GPU ran it\n",
                          done.ranked.front().key.device.name);
  }
  text += fmt::format("{}, in {:.1f} s", counts(done.outcomes), done.seconds);
  if (done.budget_ended) text += "; the budget ended first, the same command goes on from here";
  return text + "\n";
}

std::string event_json(const SweepEvent& event) {
  return std::visit([](const auto& one) { return json_of(one).dump(); }, event);
}

std::vector<Speedup> course_speedups(const std::vector<ProblemDone>& problems) {
  std::vector<Speedup> speedups;
  for (const ProblemDone& done : problems)
    if (done.best && done.best->default_us > 0 && done.best->timing.median_us > 0)
      speedups.push_back({done.problem, done.best->default_us, done.best->timing.median_us, done.best->grade});
  return speedups;
}

std::string speedup_table(const std::vector<Speedup>& speedups) {
  std::vector<std::vector<std::string>> table = {{"problem", "default us", "best us", "speedup", "grade"}};
  for (const Speedup& s : speedups)
    table.push_back({short_problem(s.problem), fmt::format("{:.2f}", s.default_us), fmt::format("{:.2f}", s.best_us),
                     fmt::format("{:.3f}x", s.default_us / s.best_us), name_of(s.grade)});
  return aligned(table);
}

}  // namespace flashtune
