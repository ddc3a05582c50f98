// The columns of trials and bests.
#include "cache/rows.h"

#include <fmt/format.h>

#include <limits>
#include <type_traits>

#include "cache/codec.h"
#include "cache/keys.h"

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

template <class T>
const T& typed(const SqlValue& value) {
  if (const T* typed_value = std::get_if<T>(&value)) return *typed_value;
  throw Error(ErrorKind::kInvalidArgument, "a column holds a value of the wrong type");
}

void from_value(const SqlValue& value, int& field) {
  const std::int64_t wide = typed<std::int64_t>(value);
  if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max())
    throw Error(ErrorKind::kInvalidArgument, fmt::format("{} is too large", wide));
  field = static_cast<int>(wide);
}
void from_value(const SqlValue& value, double& field) {
  // RETURNING hands a real without a fraction out as SQLite keeps it on disk: as an integer.
  const auto* integer = std::get_if<std::int64_t>(&value);
  field = integer != nullptr ? static_cast<double>(*integer) : typed<double>(value);
}
void from_value(const SqlValue& value, std::string& field) { field = typed<std::string>(value); }
void from_value(const SqlValue& value, Candidate& field) { field = candidate_from_text(typed<std::string>(value)); }
void from_value(const SqlValue& value, Problem& field) { field = problem_from_text(typed<std::string>(value)); }
template <class Enum>
requires std::is_enum_v<Enum>
void from_value(const SqlValue& value, Enum& field) { field = require_enum<Enum>("token", typed<std::string>(value)); }

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

/// The record's own columns, then those that every lookup filters by.
template <class Record>
StoredRow describe(const Record& record, const Problem& problem) {
  StoredRow row;
  const auto add = [&](const char* name, const auto& field) {
    row.columns.emplace_back(name);
    row.values.push_back(to_value(field));
  };
  visit_columns(record, add);
  add("op", problem.op);
  add("dtype", problem.dtype);
  add("head_dim", problem.head_dim);
  return row;
}

template <class Record>
std::string column_list() {
  std::string columns = "id";
  const Record empty{};
  visit_columns(empty, [&](const char* name, const auto&) { columns += fmt::format(", {}", name); });
  return columns;
}

template <class Record>
Record read(const SqlRow& row, Record record) {
  std::size_t next = 1;  // past the id
  visit_columns(record, [&](const char* name, auto& field) {
    try {
      from_value(row.at(next++), field);
    } catch (const Error& e) {
      throw Error(e.kind(), fmt::format("{}: {}", name, e.what()));
    }
  });
  return record;
}

void upsert(const Sqlite& db, const char* table, const char* key, const StoredRow& row) {
  std::string marks, updates;
  for (std::size_t i = 0; i < row.columns.size(); ++i) {
    marks += fmt::format("{}?{}", i == 0 ? "" : ", ", i + 1);
    updates += fmt::format("{}{} = excluded.{}", i == 0 ? "" : ", ", row.columns[i], row.columns[i]);
  }
  db.query(fmt::format("INSERT INTO {}({}) VALUES({}) ON CONFLICT({}) DO UPDATE SET {}", table,
                       fmt::join(row.columns, ", "), marks, key, updates),
           row.values);
}

}  // namespace

std::string stored_key(const TrialKey& key) { return digest_of(trial_key_text(key)); }

StoredRow row_of(const Trial& trial) {
  StoredRow row = describe(trial, trial.key.problem);
  row.columns.emplace_back("key");
  row.values.emplace_back(stored_key(trial.key));
  return row;
}

StoredRow row_of(const Best& best) {
  StoredRow row = describe(best, best.problem);
  row.columns.emplace_back("bucket");
  row.values.emplace_back(problem_to_text(bucket_of(best.problem)));
  return row;
}

std::string trial_columns() { return column_list<Trial>(); }
std::string best_columns() { return column_list<Best>(); }

Trial trial_of(const SqlRow& row) {
  Trial trial = read(row, Trial{});
  trial.id = std::get<std::int64_t>(row.front());
  return trial;
}

Best best_of(const SqlRow& row) { return read(row, Best{}); }

void store(const Sqlite& db, const Trial& trial) { upsert(db, "trials", "key", row_of(trial)); }
void store(const Sqlite& db, const Best& best) {
  upsert(db, "bests", "device_name, sm_count, arch, bucket, grade", row_of(best));
}

}  // namespace flashtune
