// The columns of trials and bests.
#include "cache/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <type_traits>

#include "cache/codec.h"
#include "cache/keys.h"
#include "cache/plain_text.h"
#include "cache/record_fault.h"

namespace flashtune {
namespace {

// --- a field and its SQL value; texts as codec.h writes them
SqlValue to_value(int v) { return std::int64_t{v}; }
SqlValue to_value(double v) { return v; }
SqlValue to_value(const std::string& v) { return v; }
SqlValue to_value(const Candidate& v) { return candidate_to_text(v); }
SqlValue to_value(const Problem& v) { return problem_to_text(v); }
template <class Enum>
requires std::is_enum_v<Enum> SqlValue to_value(Enum v) {
  const char* name = name_of(v);
  if (name == nullptr) throw Error(ErrorKind::kInternal, fmt::format("{} is no enumerator", static_cast<int>(v)));
  return std::string(name);
}

const char* type_of(const SqlValue& value) {
  constexpr const char* kTypes[] = {"a whole number", "a number", "a text", "NULL", "bytes"};
  return kTypes[value.index()];
}

template <class T>
const T& typed(const SqlValue& value, const char* wanted) {
  if (const T* typed_value = std::get_if<T>(&value)) return *typed_value;
  throw Error(ErrorKind::kInvalidArgument, fmt::format("holds {} instead of {}", type_of(value), wanted));
}
const std::string& text_of(const SqlValue& value) { return typed<std::string>(value, "a text"); }

void from_value(const SqlValue& value, int& field) {
  const std::int64_t wide = typed<std::int64_t>(value, "a whole number");
  if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max())
    throw Error(ErrorKind::kInvalidArgument, fmt::format("{} is too large", wide));
  field = static_cast<int>(wide);
}
void from_value(const SqlValue& value, double& field) {
  // RETURNING hands a real without a fraction out as SQLite keeps it on disk: as an integer.
  const auto* integer = std::get_if<std::int64_t>(&value);
  field = integer != nullptr ? static_cast<double>(*integer) : typed<double>(value, "a number");
}
void from_value(const SqlValue& value, std::string& field) { field = text_of(value); }
void from_value(const SqlValue& value, Candidate& field) { field = candidate_from_text(text_of(value)); }
void from_value(const SqlValue& value, Problem& field) { field = problem_from_text(text_of(value)); }
template <class Enum>
requires std::is_enum_v<Enum>
void from_value(const SqlValue& value, Enum& field) { field = require_enum<Enum>("token", text_of(value)); }

// --- the columns, in the order in which rows are read
template <class Device, class F>
void visit_device(Device& device, F&& f) {
  f("device_name", device.name);
  f("sm_count", device.sm_count);
  f("arch", device.arch);
}

template <class Times, class F>
void visit_timing(Times& timing, F&& f) {
  f("median_us", timing.median_us);
  f("spread_us", timing.spread_us);
  f("warm_us", timing.warm_us);
  f("samples", timing.samples);
  f("sm_clock_mhz", timing.sm_clock_mhz);
}

template <class Record, class F>
void visit_evidence(Record& record, F&& f) {
  f("driver", record.driver);
  f("compiler", record.compiler);
  f("recorded_at", record.when);
}

template <class F, class T>
requires std::is_same_v<std::remove_const_t<T>, Trial>
void visit_columns(T& t, F&& f) {
  visit_device(t.key.device, f);
  f("candidate", t.key.candidate);
  f("problem", t.key.problem);
  f("cubin_digest", t.key.cubin_digest);
  f("policy", t.key.policy);
  f("outcome", t.outcome);
  f("detail", t.detail);
  f("attempts", t.attempts);
  f("registers", t.facts.registers);
  f("spill_bytes", t.facts.spill_bytes);
  f("stack_bytes", t.facts.stack_bytes);
  f("smem_static", t.facts.smem_static);
  f("max_threads", t.facts.max_threads);
  visit_timing(t.timing, f);
  visit_evidence(t, f);
}

template <class F, class T>
requires std::is_same_v<std::remove_const_t<T>, Best>
void visit_columns(T& b, F&& f) {
  visit_device(b.device, f);
  f("candidate", b.candidate);
  f("problem", b.problem);
  f("cubin_digest", b.cubin_digest);
  f("policy", b.policy);
  f("grade", b.grade);
  f("default_us", b.default_us);
  visit_timing(b.timing, f);
  visit_evidence(b, f);
}

/// The record's own columns, by name.
template <class Record>
std::vector<std::string> own_columns() {
  std::vector<std::string> columns;
  const Record empty{};
  visit_columns(empty, [&](const char* name, const auto&) { columns.emplace_back(name); });
  return columns;
}

// --- the columns that serve lookups, in their order: what filters ask, and what makes a row unique

const Problem& problem_of(const Trial& trial) { return trial.key.problem; }
const Problem& problem_of(const Best& best) { return best.problem; }
std::string unique_text(const Trial& trial) { return stored_key(trial.key); }
std::string unique_text(const Best& best) { return stored_bucket(best.problem); }

template <class Record>
struct TableOf;
template <>
struct TableOf<Trial> {
  static constexpr const char* kName = "trials";
  static constexpr const char* kUniqueText = "key";
  static constexpr const char* kUnique = "key";
};
template <>
struct TableOf<Best> {
  static constexpr const char* kName = "bests";
  static constexpr const char* kUniqueText = "bucket";
  static constexpr const char* kUnique = "device_name, sm_count, arch, bucket, grade";
};

template <class Record>
std::vector<std::string> all_columns() {
  std::vector<std::string> columns = own_columns<Record>();
  for (const char* name : {"op", "dtype", "head_dim", TableOf<Record>::kUniqueText}) columns.emplace_back(name);
  return columns;
}

template <class Record>
const std::string& column_list() {
  static const std::string list = fmt::format("id, {}", fmt::join(all_columns<Record>(), ", "));
  return list;
}

template <class Record>
SqlRow values_of(const Record& record) {
  SqlRow values;
  visit_columns(record, [&](const char*, const auto& field) { values.push_back(to_value(field)); });
  const Problem& problem = problem_of(record);
  values.push_back(to_value(problem.op));
  values.push_back(to_value(problem.dtype));
  values.push_back(to_value(problem.head_dim));
  values.emplace_back(unique_text(record));
  return values;
}

/// "INSERT INTO trials(...) VALUES(?1, ...) ON CONFLICT(key) DO UPDATE SET ".
template <class Record>
std::string insert_sql() {
  const std::vector<std::string> columns = all_columns<Record>();
  std::string marks;
  for (std::size_t i = 0; i < columns.size(); ++i) marks += fmt::format("{}?{}", i == 0 ? "" : ", ", i + 1);
  return fmt::format("INSERT INTO {}({}) VALUES({}) ON CONFLICT({}) DO UPDATE SET ", TableOf<Record>::kName,
                     fmt::join(columns, ", "), marks, TableOf<Record>::kUnique);
}

template <class Record>
void require_sound(const Record& record) {
  if (const auto fault = fault_of(record))
    throw Error(ErrorKind::kInvalidArgument, "a record cannot be stored: " + text_of(*fault));
}

template <class Record>
void upsert(const Sqlite& db, const Record& record) {
  static const std::string sql = [] {
    std::string updates;
    for (const std::string& name : all_columns<Record>())
      updates += fmt::format("{}{} = excluded.{}", updates.empty() ? "" : ", ", name, name);
    return insert_sql<Record>() + updates;
  }();
  require_sound(record);
  db.query(sql, values_of(record));
}

// --- judging a row

/// A row by the names of its columns.
template <class Record>
const SqlValue& named(const SqlRow& row, std::string_view name) {
  static const std::vector<std::string> columns = all_columns<Record>();
  std::size_t i = 0;
  while (columns.at(i) != name) ++i;
  return row.at(i + 1);  // past the id
}

/// What is unique in a row, of its texts as they are: these a newer flashtune wrote as it wrote the key, whatever their
/// words mean.
bool unique_text_fits(const Trial& trial, const SqlRow& row) {
  const std::string text =
      trial_key_text(trial.key.device, text_of(named<Trial>(row, "candidate")), text_of(named<Trial>(row, "problem")),
                     trial.key.cubin_digest, trial.key.policy);
  return text_of(named<Trial>(row, "key")) == digest_of(text);
}
bool unique_text_fits(const Best& best, const SqlRow& row) {
  return text_of(named<Best>(row, "bucket")) == stored_bucket(best.problem);
}

/// The column that does not follow from the rest; "" when all do. `knows_problem`: else the problem's words that other
/// columns repeat are compared as they are.
template <class Record>
std::string misfit(const Record& record, const SqlRow& row, bool knows_problem) {
  std::string_view rest = text_of(named<Record>(row, "problem"));
  const auto word = [&] {
    const std::string_view head = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), head.size() + 1));
    return head;
  };
  if (text_of(named<Record>(row, "op")) != word()) return "op";
  if (text_of(named<Record>(row, "dtype")) != word()) return "dtype";
  const std::int64_t head_dim = typed<std::int64_t>(named<Record>(row, "head_dim"), "a whole number");
  if (knows_problem && head_dim != problem_of(record).head_dim) return "head_dim";
  constexpr const char* kUniqueText = TableOf<Record>::kUniqueText;
  const bool judges = std::is_same_v<Record, Trial> || knows_problem;
  const bool fits = judges ? unique_text_fits(record, row) : is_plain(text_of(named<Record>(row, kUniqueText)));
  return fits ? "" : kUniqueText;
}

template <class Record>
Judged<Record> judged(const SqlRow& row) {
  Record record;
  std::string unknown;
  bool knows_problem = true;
  const char* column = "";
  try {
    std::size_t next = 1;  // past the id
    visit_columns(record, [&](const char* name, auto& field) {
      column = name;
      try {
        from_value(row.at(next++), field);
      } catch (const UnknownWord& word) {  // the rest may still be damaged
        if (unknown.empty()) unknown = fmt::format("{}: {}", name, word.what());
        knows_problem &= !std::is_same_v<std::remove_cvref_t<decltype(field)>, Problem>;
      }
    });
    if (const auto fault = fault_of(record)) return RowFault{RowFault::Kind::kDamaged, text_of(*fault)};
    if (row.size() > next) {
      column = "a column for lookups";
      if (const std::string name = misfit(record, row, knows_problem); !name.empty())
        return RowFault{RowFault::Kind::kDamaged,
                        fmt::format("column {} does not say what the rest of the row says", name)};
    }
  } catch (const Error& error) {
    return RowFault{RowFault::Kind::kDamaged, fmt::format("{}: {}", column, error.what())};
  }
  if (!unknown.empty()) return RowFault{RowFault::Kind::kNewer, std::move(unknown)};
  return record;
}

}  // namespace

std::string stored_key(const TrialKey& key) { return digest_of(trial_key_text(key)); }
std::string stored_bucket(const Problem& problem) { return problem_to_text(bucket_of(problem)); }

const std::string& trial_columns() { return column_list<Trial>(); }
const std::string& best_columns() { return column_list<Best>(); }

Judged<Trial> trial_of(const SqlRow& row) {
  Judged<Trial> trial = judged<Trial>(row);
  if (auto* sound = std::get_if<Trial>(&trial)) sound->id = std::get<std::int64_t>(row.front());
  return trial;
}

Judged<Best> best_of(const SqlRow& row) { return judged<Best>(row); }

void store(const Sqlite& db, const Trial& trial) { upsert(db, trial); }
void store(const Sqlite& db, const Best& best) { upsert(db, best); }

SqlRow store_attempt(const Sqlite& db, const Trial& first) {
  // One statement, so that two processes that begin the same trial count two attempts.
  static const std::string sql =
      insert_sql<Trial>() +
      fmt::format(
          "attempts = CASE WHEN outcome = excluded.outcome AND attempts BETWEEN 0 AND {} THEN attempts + 1 "
          "ELSE 1 END, outcome = excluded.outcome, recorded_at = excluded.recorded_at RETURNING {}",
          kMostAttempts - 1, trial_columns());
  require_sound(first);
  return db.query(sql, values_of(first)).at(0);
}

}  // namespace flashtune
