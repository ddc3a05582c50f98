// The database's calls in SQL. Opening: cache/open_database.cpp.
#include "cache/database.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "cache/codec.h"
#include "cache/database_impl.h"
#include "cache/plain_text.h"
#include "cache/rows.h"

namespace flashtune {
namespace {

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

// --- reading: what is no record is passed over

template <class Record>
std::vector<Record> Database::Impl::select(Table table, const std::string& columns, const Where& where,
                                           Judged<Record> (*judge)(const SqlRow&)) {
  const std::string sql = fmt::format("SELECT {} FROM {}{} ORDER BY id", columns, name_of(table), where.sql);
  const std::lock_guard lock(mutex);
  std::vector<Record> records;
  db.each(sql, where.values, [&](SqlRow&& row) {
    if (auto record = record_of<Record>(table, row, judge(row))) records.push_back(std::move(*record));
  });
  return records;
}

std::vector<Trial> Database::Impl::trials(const Where& where) {
  return select<Trial>(Table::kTrials, trial_columns(), where, trial_of);
}
std::vector<Best> Database::Impl::bests(const Where& where) {
  return select<Best>(Table::kBests, best_columns(), where, best_of);
}

std::optional<Trial> Database::find(const TrialKey& key) const {
  Where where;
  where.add("key =", stored_key(key));
  std::vector<Trial> found = impl_->trials(where);
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

std::vector<Trial> Database::trials(const RecordFilter& filter) const {
  return impl_->trials(where_of(filter, Table::kTrials));
}

std::vector<Trial> Database::trials_of(const DeviceKey& device, const Problem& problem) const {
  Where where;
  where.add("problem =", problem_to_text(problem));
  where.add("device_name =", device.name);
  where.add("sm_count =", std::int64_t{device.sm_count});
  where.add("arch =", std::int64_t{device.arch});
  return impl_->trials(where);
}

std::vector<Best> Database::bests(const RecordFilter& filter) const {
  return impl_->bests(where_of(filter, Table::kBests));
}

std::optional<Best> Database::find_best(const DeviceKey& device, const Problem& problem, Grade grade) const {
  Where where;
  where.add("device_name =", device.name);
  where.add("sm_count =", std::int64_t{device.sm_count});
  where.add("arch =", std::int64_t{device.arch});
  where.add("bucket =", stored_bucket(problem));
  where.add("grade =", std::string(name_of(grade)));
  std::vector<Best> found = impl_->bests(where);
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

SkippedRows Database::Impl::left_by_migration() const {
  SkippedRows rows;
  for (const LeftRow& row : migrated.left) ++(row.fault.kind == RowFault::Kind::kNewer ? rows.newer : rows.damaged);
  return rows;
}

SkippedRows Database::skipped() const {
  const std::lock_guard lock(impl_->mutex);
  SkippedRows all = {static_cast<int>(impl_->damaged.size()), static_cast<int>(impl_->newer.size())};
  return all += impl_->left_by_migration();
}

std::optional<Database::LeftOut> Database::left_out() const {
  if (impl_->migrated.left.empty()) return std::nullopt;
  return LeftOut{impl_->left_by_migration(), impl_->migrated.backup};
}

// --- writing

Trial Database::begin_attempt(const TrialKey& key) {
  Trial first;
  first.key = key;
  first.attempts = 1;
  first.when = utc_now();
  const std::lock_guard lock(impl_->mutex);
  try {
    Judged<Trial> begun = trial_of(store_attempt(impl_->db, first));
    if (auto* trial = std::get_if<Trial>(&begun)) return std::move(*trial);
  } catch (const SqliteBusy&) {
    throw;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInvalidArgument) throw;
  }
  // The row of this key is damaged, perhaps so that SQLite would not change a part of it: nothing in it counts.
  store(impl_->db, first);
  return find(key).value_or(first);
}

void Database::finish(const Trial& trial) {
  const std::lock_guard lock(impl_->mutex);
  store(impl_->db, trial);
}

void Database::put_best(const Best& best) {
  const std::lock_guard lock(impl_->mutex);
  store(impl_->db, best);
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

const std::filesystem::path& Database::path() const { return impl_->path; }

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
                                    "SELECT device_name, sm_count, arch FROM bests ORDER BY 1, 2, 3")) {
    const auto* name = std::get_if<std::string>(&row[0]);
    const auto* sms = std::get_if<std::int64_t>(&row[1]);
    const auto* arch = std::get_if<std::int64_t>(&row[2]);
    // Not those of rows that can be no records.
    if (name != nullptr && is_plain(*name) && sms != nullptr && *sms == static_cast<int>(*sms) && arch != nullptr &&
        *arch == static_cast<int>(*arch))
      info.devices.push_back({*name, static_cast<int>(*sms), static_cast<int>(*arch)});
  }
  return info;
}

// --- transactions: the outermost takes the write lock at once, inner ones are savepoints

bool Database::begin_reading() const {
  std::unique_lock lock(impl_->mutex);
  const bool outermost = !impl_->db.in_transaction();
  if (outermost) impl_->db.script("BEGIN");
  lock.release();  // held until end_reading()
  return outermost;
}

void Database::end_reading(bool outermost) const {
  const std::unique_lock lock(impl_->mutex, std::adopt_lock);
  if (outermost && impl_->db.in_transaction()) impl_->db.script("ROLLBACK");  // there is nothing to keep
}

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
