// flashtune explain: which answer an engine gives for a problem, how good it is, and why it is not a better one.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cache/plain_text.h"
#include "runtime/dispatch/decider.h"
#include "runtime/dispatch/validity.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/flags.h"
#include "tuner/cli/problem_flags.h"
#include "tuner/cli/target.h"
#include "tuner/report/report.h"

namespace flashtune {
namespace {

struct Flags {
  ProblemFlags problem;
  TargetFlags target;
  CommonFlags common;
};

std::string verb(const Problem& problem, const FoundTarget& found) {
  return fmt::format("flashtune sweep {}{}", found.gpu ? "" : fmt::format("--arch sm_{} ", found.key().arch),
                     flags_text(problem));
}

/// Where the rows came from, and how many of them were none.
struct Source {
  std::string database;
  SkippedRows skipped;
};

std::string text_of(const Problem& problem, const FoundTarget& found, const Source& source, const Decision& decision,
                    const std::vector<Consideration>& story) {
  Record record = {{"problem", problem_to_text(problem)},
                   {"device", device_to_text(found.key())},
                   {"database", source.database},
                   {"config", config_to_text(decision.candidate.config)},
                   {"family", std::string(name_of(decision.candidate.family()))},
                   {"grade", std::string(name_of(decision.grade))},
                   {"because", std::string(text_of(decision.reason))}};
  if (decision.expected_us > 0) record.emplace_back("expected", human_time(decision.expected_us));
  Table table{{"", "grade", "why"}, {}};
  for (const Consideration& one : story)
    table.rows.push_back({std::string(one.chosen ? "->" : " "), std::string(name_of(one.grade)), one.why});
  std::string text = render(record, Format::kTable) + "\n" + render(table, Format::kTable);
  if (decision.grade != Grade::kMeasured && found.gpu)
    text += fmt::format("\nFor a measured answer: {}\n", verb(problem, found));
  else if (decision.grade == Grade::kDefault)
    text += fmt::format("\nFor a modelled answer: {}\n", verb(problem, found));
  return text;
}

std::string json_of(const Problem& problem, const FoundTarget& found, const Source& source, const Decision& decision,
                    const std::vector<Consideration>& story) {
  nlohmann::ordered_json json = {{"problem", problem_to_text(problem)},
                                 {"device", device_to_text(found.key())},
                                 {"database", source.database},
                                 {"rows_skipped", source.skipped.total()},
                                 {"candidate", candidate_to_text(decision.candidate)},
                                 {"grade", name_of(decision.grade)},
                                 {"reason", text_of(decision.reason)},
                                 {"expected_us", decision.expected_us}};
  for (const Consideration& one : story)
    json["considered"].push_back({{"grade", name_of(one.grade)}, {"chosen", one.chosen}, {"why", one.why}});
  return printable_json(json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) + "\n";
}

Work plan(const Flags& flags) {
  const Problem problem = problem_of(flags.problem);
  const Target target = target_of(flags.target);
  const Format format = format_of(flags.common);
  return [=, db_flag = flags.common.db] {
    const auto path = optional_database(db_flag);
    const FoundTarget found = find_target(target);
    if (target.kind == Target::Kind::kAuto && !found.note.empty()) remark(found.note);
    std::vector<Best> bests;
    SkippedRows skipped;
    if (path) {
      const Database db = Database::open(*path, Database::Mode::kReadOnly);
      bests = db.bests();
      skipped = db.skipped();
      remark_skipped(db);
    }
    const auto place = database_place(db_flag);
    const std::string database = path    ? path->string()
                                 : place ? place->string() + " (not there yet)"
                                         : "none (neither HOME nor XDG_DATA_HOME is set)";
    const Decider decider(found.key(), found.driver(), std::move(bests));
    const Decision decision = decider.decide(problem);
    const auto show = format == Format::kJson ? json_of : text_of;
    print(show(problem, found, {database, skipped}, decision, decider.explain(problem)));
    return kExitDone;
  };
}

}  // namespace

Command add_explain(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("explain", "Say which kernel serves a problem, how good that answer is, and why");
  auto flags = std::make_shared<Flags>();
  add_target_flags(*app, flags->target);
  add_db_flag(*app, flags->common);
  add_format_flag(*app, flags->common);
  add_problem_flags(*app, flags->problem, Lists::kRefused);
  app->footer("Example:\n  flashtune explain --arch sm_80 --heads 32 --seq-q 4096 --head-dim 128 --causal");
  return {app, [flags] { return plan(*flags); }};
}

}  // namespace flashtune
