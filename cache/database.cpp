// The database's calls in SQL. Opening: cache/open_database.cpp.
#include "cache/database.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "cache/codec.h"
#include "cache/database_impl.h"
#include "cache/keys.h"
#include "cache/rows.h"

namespace flashtune {
namespace {

/// " WHERE a = ?1 AND ..." with its values.
struct Where {
  std::string sql;
  SqlRow values;
  void add(const char* condition, SqlValue value) {
    values.push_back(std::move(value));
    sql += fmt::format("{}{} ?{}", sql.empty() ? " WHERE " : " AND ", condition, values.size());
  }
};

enum class Table { kTrials, kBests };
constexpr const char* name_of(Table table) { return table == Table::kTrials ? "trials" : "bests"; }

Where where_of(const RecordFilter& filter, Table table) {
  Where where;
  if (filter.arch) where.add("arch =", std::int64_t{*filter.arch});
  if (filter.device_name) where.add("device_name =", *filter.device_name);
  if (filter.op) where.add("op =", std::string(name_of(*filter.op)));
  if (filter.dtype) where.add("dtype =", std::string(name_of(*filter.dtype)));
  if (filter.head_dim) where.add("head_dim =", std::int64_t{*filter.head_dim});
  if (filter.older_than) where.add("recorded_at <", *filter.older_than);
  if (filter.driver_not) where.add("driver <> '' AND driver <>", *filter.driver_not);
  if (filter.outcome && table == Table::kTrials) where.add("outcome =", std::string(name_of(*filter.outcome)));
  if (filter.outcome && table == Table::kBests) where.add("0 =", std::int64_t{1});
  return where;
}

/// Decodes all rows of a query; one that does not decode is damage, and is named.
template <class Decode>
auto decode_all(const Sqlite& db, Table table, const std::string& columns, const Where& where, Decode decode) {
  std::vector<decltype(decode(SqlRow{}))> records;
  for (const SqlRow& row :
       db.query(fmt::format("SELECT {} FROM {}{} ORDER BY id", columns, name_of(table), where.sql), where.values)) {
    try {
      records.push_back(decode(row));
    } catch (const Error& e) {
      throw Error(ErrorKind::kIo,
                  fmt::format("row {} of {} in {} is damaged ({}); flashtune db check lists all such rows",
                              std::get<std::int64_t>(row.front()), name_of(table), db.path().string(), e.what()));
    }
  }
  return records;
}

/// What is wrong with the rows of one table: text that does not decode, or a column that does not say what the record
/// says.
template <class Decode>
void check_rows(const Sqlite& db, Table table, const std::string& columns, Decode decode,
                std::vector<std::string>& problems) {
  for (const SqlRow& id : db.query(fmt::format("SELECT id FROM {} ORDER BY id", name_of(table)))) {
    const std::string label = fmt::format("row {} of {}", std::get<std::int64_t>(id.front()), name_of(table));
    const std::string by_id = fmt::format(" FROM {} WHERE id = ?1", name_of(table));
    try {
      const StoredRow expected = row_of(decode(db.query(fmt::format("SELECT {}{}", columns, by_id), id).at(0)));
      const SqlRow stored = db.query(fmt::format("SELECT {}{}", fmt::join(expected.columns, ", "), by_id), id).at(0);
      for (std::size_t i = 0; i < stored.size(); ++i)
        if (stored[i] != expected.values[i])
          problems.push_back(
              fmt::format("{}: column {} does not say what the rest of the row says", label, expected.columns[i]));
    } catch (const Error& e) {
      problems.push_back(fmt::format("{}: {}", label, e.what()));
    }
  }
}

std::int64_t bytes_on_disk(const Sqlite& db) {
  std::int64_t bytes = db.number("PRAGMA page_count") * db.number("PRAGMA page_size");
  std::error_code none;
  const auto wal = std::filesystem::file_size(db.path().string() + "-wal", none);
  if (!none) bytes += static_cast<std::int64_t>(wal);
  return bytes;
}

}  // namespace

bool RecordFilter::empty() const {
  return !arch && !device_name && !op && !dtype && !head_dim && !outcome && !older_than && !driver_not;
}

Trial Database::begin_attempt(const TrialKey& key) {
  Trial first;
  first.key = key;
  first.attempts = 1;
  first.when = utc_now();
  const StoredRow row = row_of(first);
  std::string marks;
  for (std::size_t i = 0; i < row.values.size(); ++i) marks += fmt::format("{}?{}", i == 0 ? "" : ", ", i + 1);
  // One statement, so that two processes that begin the same trial count two attempts.
  const std::string sql = fmt::format(
      "INSERT INTO trials({}) VALUES({}) ON CONFLICT(key) DO UPDATE SET "
      "attempts = CASE outcome WHEN excluded.outcome THEN attempts + 1 ELSE 1 END, "
      "outcome = excluded.outcome, recorded_at = excluded.recorded_at RETURNING {}",
      fmt::join(row.columns, ", "), marks, trial_columns());
  const std::lock_guard lock(impl_->mutex);
  return trial_of(impl_->db.query(sql, row.values).at(0));
}

void Database::finish(const Trial& trial) {
  const std::lock_guard lock(impl_->mutex);
  store(impl_->db, trial);
}

std::optional<Trial> Database::find(const TrialKey& key) const {
  Where where;
  where.add("key =", stored_key(key));
  const std::lock_guard lock(impl_->mutex);
  std::vector<Trial> found = decode_all(impl_->db, Table::kTrials, trial_columns(), where, trial_of);
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

std::vector<Trial> Database::trials(const RecordFilter& filter) const {
  const std::lock_guard lock(impl_->mutex);
  return decode_all(impl_->db, Table::kTrials, trial_columns(), where_of(filter, Table::kTrials), trial_of);
}

std::vector<Trial> Database::trials_of(const DeviceKey& device, const Problem& problem) const {
  Where where;
  where.add("problem =", problem_to_text(problem));
  where.add("device_name =", device.name);
  where.add("sm_count =", std::int64_t{device.sm_count});
  where.add("arch =", std::int64_t{device.arch});
  const std::lock_guard lock(impl_->mutex);
  return decode_all(impl_->db, Table::kTrials, trial_columns(), where, trial_of);
}

void Database::put_best(const Best& best) {
  if (best.grade != Grade::kMeasured && best.grade != Grade::kModelled)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("a best answer is stored as measured or modelled, not as {}", name_of(best.grade)));
  const std::lock_guard lock(impl_->mutex);
  store(impl_->db, best);
}

std::vector<Best> Database::bests(const RecordFilter& filter) const {
  const std::lock_guard lock(impl_->mutex);
  return decode_all(impl_->db, Table::kBests, best_columns(), where_of(filter, Table::kBests), best_of);
}

std::int64_t Database::prune(const RecordFilter& filter) {
  if (filter.empty())
    throw Error(ErrorKind::kInvalidArgument,
                "prune needs at least one condition: without any it would delete everything");
  const std::lock_guard lock(impl_->mutex);
  std::int64_t deleted = 0;
  transaction([&] {
    for (const Table table : {Table::kTrials, Table::kBests}) {
      const Where where = where_of(filter, table);
      impl_->db.query(fmt::format("DELETE FROM {}{}", name_of(table), where.sql), where.values);
      deleted += impl_->db.changed_rows();
    }
  });
  if (deleted > 0 && !impl_->db.in_transaction()) {
    impl_->db.script("VACUUM");
    impl_->db.query("PRAGMA wal_checkpoint(TRUNCATE)");  // the file itself shrinks only now
  }
  return deleted;
}

DatabaseInfo Database::info() const {
  const std::lock_guard lock(impl_->mutex);
  const Sqlite& db = impl_->db;
  DatabaseInfo info;
  info.path = impl_->path;
  info.schema_version = static_cast<int>(db.number("PRAGMA user_version"));
  info.trials = db.number("SELECT count(*) FROM trials");
  info.bests = db.number("SELECT count(*) FROM bests");
  info.bytes = bytes_on_disk(db);
  info.read_only = impl_->read_only;
  for (const SqlRow& row : db.query("SELECT device_name, sm_count, arch FROM trials UNION "
                                    "SELECT device_name, sm_count, arch FROM bests ORDER BY 1, 2, 3"))
    info.devices.push_back({std::get<std::string>(row[0]), static_cast<int>(std::get<std::int64_t>(row[1])),
                            static_cast<int>(std::get<std::int64_t>(row[2]))});
  return info;
}

std::vector<std::string> Database::check() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<std::string> problems;
  try {
    for (const SqlRow& row : impl_->db.query("PRAGMA integrity_check"))
      if (const auto& line = std::get<std::string>(row.front()); line != "ok") problems.push_back("SQLite: " + line);
    check_rows(impl_->db, Table::kTrials, trial_columns(), trial_of, problems);
    check_rows(impl_->db, Table::kBests, best_columns(), best_of, problems);
  } catch (const Error& e) {
    problems.emplace_back(e.what());  // pages so damaged that a query cannot end
  }
  return problems;
}

// --- transactions: the outermost takes the write lock at once, inner ones are savepoints

void Database::begin() {
  std::unique_lock lock(impl_->mutex);
  impl_->db.script(impl_->depth == 0 ? "BEGIN IMMEDIATE" : fmt::format("SAVEPOINT level{}", impl_->depth));
  ++impl_->depth;
  lock.release();  // held until commit() or rollback()
}

void Database::commit() {
  const std::unique_lock lock(impl_->mutex, std::adopt_lock);
  --impl_->depth;
  try {
    impl_->db.script(impl_->depth == 0 ? "COMMIT" : fmt::format("RELEASE level{}", impl_->depth));
  } catch (const Error&) {
    impl_->undo();
    throw;
  }
}

void Database::rollback() {
  const std::unique_lock lock(impl_->mutex, std::adopt_lock);
  --impl_->depth;
  impl_->undo();
}

void Database::Impl::undo() {
  if (!db.in_transaction()) return;  // SQLite has rolled back by itself, as it does on a full disk
  db.script(depth == 0 ? "ROLLBACK" : fmt::format("ROLLBACK TO level{0}; RELEASE level{0}", depth));
}

}  // namespace flashtune
