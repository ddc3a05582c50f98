// SQLite's calls and its error codes, turned into values and sentences.
#include "cache/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <system_error>

#include "cache/paths.h"
#include "cache/plain_text.h"

namespace flashtune {
namespace {

constexpr int kBusySeconds = 30;  // transactions take milliseconds, and an import lets others in between

/// Asks again every few milliseconds: who imports lets others in for no longer (exchange.cpp). SQLite's own handler
/// soon sleeps for 100.
constexpr int kBusyMicroseconds = 2000;
int wait_for_lock(void*, int times) {
  if (times >= kBusySeconds * 1000000 / kBusyMicroseconds) return 0;
  usleep(kBusyMicroseconds);
  return 1;
}

// What a statement may take, beside what a file of its size can be worth. A sound row takes some ten steps a column and
// is larger than ten bytes a column; SQLite's own check takes a few hundred steps a row.
constexpr std::int64_t kSteps = 20'000'000, kStepsPerByte = 16, kStepsAtOnce = 100'000;
constexpr std::int64_t kBytes = 64 << 20, kBytesPerByte = 2;

constexpr const char* kMemory = ":memory:";
constexpr std::int64_t kMemoryWorth = 256 << 20;  // of what this process made itself

constexpr std::size_t kKeptStatements = 32;

/// What a person should know and do about a failure, by SQLite's primary code.
std::string advice(int code, const std::string& path) {
  switch (code) {
    case SQLITE_NOTADB: return path + " is not a flashtune database and was left as it is; name another file with --db";
    case SQLITE_CORRUPT:
      return path + " is damaged; move it away and restore a backup, or start anew and import an exported copy";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return fmt::format(
          "{} was locked by another process for more than {} s; let that end, or name another file with --db", path,
          kBusySeconds);
    case SQLITE_FULL: return "the disk that holds " + path + " is full; free some space, nothing was half written";
    case SQLITE_READONLY:
      return path + " cannot be written; make the file and its folder writable, or name another file with --db";
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return path +
             " cannot be opened; look at the permissions of the file and its folder, or name another file with --db";
    case SQLITE_IOERR: return "reading or writing " + path + " failed; look at its disk and the space left there";
    case SQLITE_INTERRUPT:
      return path + " is no sound database: reading it takes more than a file of its size can hold; move it away";
    default: return "the database " + path + " refused a statement";
  }
}

[[noreturn]] void fail(int code, std::string_view message, const std::filesystem::path& path) {
  const int primary = code & 0xff;
  // SQLite's words may hold text of the file.
  const std::string what = fmt::format("{} (SQLite: {})", advice(primary, path.string()), printable(message));
  if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) throw SqliteBusy(ErrorKind::kIo, what);
  throw Error(ErrorKind::kIo, what);
}

int bind(sqlite3_stmt* statement, int index, const SqlValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return sqlite3_bind_int64(statement, index, *integer);
  if (const auto* text = std::get_if<std::string>(&value))
    return sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
  if (const auto* blob = std::get_if<SqlBlob>(&value))
    return sqlite3_bind_blob64(statement, index, blob->bytes.data(), blob->bytes.size(), SQLITE_STATIC);
  if (std::holds_alternative<SqlNull>(value)) return sqlite3_bind_null(statement, index);
  const double real = std::get<double>(value);
  if (std::isnan(real)) throw Error(ErrorKind::kInvalidArgument, "a value that is not a number cannot be stored");
  return sqlite3_bind_double(statement, index, real);
}

SqlValue column(sqlite3_stmt* statement, int index) {
  switch (sqlite3_column_type(statement, index)) {
    case SQLITE_INTEGER: return std::int64_t{sqlite3_column_int64(statement, index)};
    case SQLITE_FLOAT: return sqlite3_column_double(statement, index);
    case SQLITE_NULL: return SqlNull();
    default: break;
  }
  const bool is_text = sqlite3_column_type(statement, index) == SQLITE_TEXT;
  const void* bytes = is_text ? static_cast<const void*>(sqlite3_column_text(statement, index))
                              : sqlite3_column_blob(statement, index);  // before its size: it may convert
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, index));
  std::string value(static_cast<const char*>(bytes), bytes == nullptr ? 0 : size);
  if (is_text) return value;
  return SqlBlob{std::move(value)};
}

SqlRow row_of(sqlite3_stmt* statement) {
  SqlRow row;
  const int count = sqlite3_column_count(statement);
  row.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) row.push_back(column(statement, i));
  return row;
}

/// A file name as a URI: what has a meaning there is percent-encoded.
std::string uri_of(const std::filesystem::path& path, std::string_view query) {
  std::string uri = "file:";
  for (const char c : whole_path(path).string()) {
    if (c == '%' || c == '?' || c == '#')
      uri += fmt::format("%{:02X}", static_cast<unsigned>(c));
    else
      uri += c;
  }
  return uri.append(query);
}

}  // namespace

void Sqlite::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
void Sqlite::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Sqlite::Sqlite(std::unique_ptr<sqlite3, Close> handle, std::filesystem::path path)
    : budget_(std::make_unique<Budget>()), handle_(std::move(handle)), path_(std::move(path)) {
  budget_->path = path_;
  if (path_ == kMemory) budget_->least = kMemoryWorth;
}

void Sqlite::fail() const {
  flashtune::fail(sqlite3_extended_errcode(handle_.get()), sqlite3_errmsg(handle_.get()), path_);
}

Sqlite Sqlite::open_named(const std::string& name, int flags, const std::filesystem::path& path) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &raw, flags | SQLITE_OPEN_FULLMUTEX, nullptr);
  std::unique_ptr<sqlite3, Close> handle(raw);  // SQLite hands one out even when it fails
  if (code != SQLITE_OK) flashtune::fail(code, raw == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(raw), path);
  Sqlite db(std::move(handle), path);
  db.harden();
  return db;
}

void Sqlite::harden() const {
  sqlite3* db = handle_.get();
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_handler(db, wait_for_lock, nullptr);
  constexpr std::array<std::pair<int, int>, 6> kConfig = {{{SQLITE_DBCONFIG_DEFENSIVE, 1},
                                                           {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                                                           {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
                                                           {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
                                                           {SQLITE_DBCONFIG_DQS_DML, 0},
                                                           {SQLITE_DBCONFIG_DQS_DDL, 0}}};
  for (const auto& [what, on] : kConfig)
    if (sqlite3_db_config(db, what, on, nullptr) != SQLITE_OK) fail();
  // Our widest statement has 29 columns, our longest 3 kB; VACUUM attaches one database.
  constexpr std::array<std::pair<int, int>, 9> kLimits = {{{SQLITE_LIMIT_LENGTH, 256 << 20},
                                                           {SQLITE_LIMIT_SQL_LENGTH, 100'000},
                                                           {SQLITE_LIMIT_COLUMN, 100},
                                                           {SQLITE_LIMIT_EXPR_DEPTH, 100},
                                                           {SQLITE_LIMIT_COMPOUND_SELECT, 4},
                                                           {SQLITE_LIMIT_FUNCTION_ARG, 8},
                                                           {SQLITE_LIMIT_ATTACHED, 1},
                                                           {SQLITE_LIMIT_VARIABLE_NUMBER, 100},
                                                           {SQLITE_LIMIT_TRIGGER_DEPTH, 1}}};
  for (const auto& [what, most] : kLimits) sqlite3_limit(db, what, most);
  const auto step = [](void* budget) { return static_cast<Budget*>(budget)->allows_steps(kStepsAtOnce) ? 0 : 1; };
  sqlite3_progress_handler(db, kStepsAtOnce, step, budget_.get());
  script("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0");
}

/// What the file is worth now: whoever has it open may have made it larger.
std::int64_t Sqlite::Budget::bytes_now() const {
  std::int64_t bytes = least;
  for (const char* part : {"", "-wal"}) {
    std::error_code none;
    const auto size = std::filesystem::file_size(path.string() + part, none);
    if (!none) bytes += static_cast<std::int64_t>(size);
  }
  return bytes;
}

void Sqlite::Budget::begin() { steps_left = steps = kSteps; }

bool Sqlite::Budget::allows_steps(std::int64_t count) {
  steps_left -= count;
  if (steps_left >= 0) return true;
  const std::int64_t worth = kSteps + kStepsPerByte * bytes_now();
  steps_left += worth - steps;
  steps = worth;
  return steps_left >= 0;
}

Sqlite Sqlite::open(const std::filesystem::path& path, Access access) {
  const auto opened = [&] {
    if (access == Access::kImmutable)
      return open_named(uri_of(path, "?immutable=1"), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, path);
    // A plain name that starts with "file:" would be read as a URI where SQLite was built so: an absolute one cannot.
    const std::string name = whole_path(path).string();
    return open_named(name, SQLITE_OPEN_READWRITE | (access == Access::kReadWrite ? SQLITE_OPEN_CREATE : 0), path);
  };
  Sqlite db = opened();
  if (access == Access::kReadOnly) db.script("PRAGMA query_only = ON");
  return db;
}

Sqlite Sqlite::in_memory() { return open_named(kMemory, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, kMemory); }

Sqlite::Statement Sqlite::prepare(const std::string& sql) const {
  if (const auto kept = kept_.find(sql); kept != kept_.end()) {
    Statement statement = std::move(kept->second);
    kept_.erase(kept);
    return statement;
  }
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v2(handle_.get(), sql.c_str(), static_cast<int>(sql.size() + 1), &raw, nullptr);
  if (code != SQLITE_OK) fail();
  return Statement(raw);
}

void Sqlite::run(sqlite3_stmt* statement, const SqlRow& values, const std::function<void(SqlRow&&)>& take) const {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (bind(statement, static_cast<int>(i + 1), values[i]) != SQLITE_OK) fail();
  budget_->begin();
  std::int64_t bytes = 0, most_bytes = kBytes;
  int code = SQLITE_OK;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    SqlRow row = row_of(statement);
    for (const SqlValue& value : row) {
      if (const auto* text = std::get_if<std::string>(&value)) bytes += static_cast<std::int64_t>(text->size());
      if (const auto* blob = std::get_if<SqlBlob>(&value)) bytes += static_cast<std::int64_t>(blob->bytes.size());
    }
    if (bytes > most_bytes) most_bytes = kBytes + kBytesPerByte * budget_->bytes_now();
    if (bytes > most_bytes) flashtune::fail(SQLITE_INTERRUPT, "too many bytes", path_);
    take(std::move(row));
  }
  if (code != SQLITE_DONE) fail();
}

void Sqlite::each(const std::string& sql, const SqlRow& values, const std::function<void(SqlRow&&)>& take) const {
  Statement statement = prepare(sql);
  if (!statement) return;  // nothing but a comment
  try {
    run(statement.get(), values, take);
  } catch (...) {
    sqlite3_reset(statement.get());
    throw;
  }
  // Resetting ends it; the values bound to it are the caller's.
  sqlite3_reset(statement.get());
  sqlite3_clear_bindings(statement.get());
  const bool keeps =
      sql.starts_with("SELECT") || sql.starts_with("INSERT") || sql.starts_with("UPDATE") || sql.starts_with("DELETE");
  if (keeps && kept_.size() < kKeptStatements) kept_.emplace(sql, std::move(statement));
}

std::vector<SqlRow> Sqlite::query(const std::string& sql, const SqlRow& values) const {
  std::vector<SqlRow> rows;
  each(sql, values, [&](SqlRow&& row) { rows.push_back(std::move(row)); });
  return rows;
}

std::int64_t Sqlite::number(const std::string& sql, const SqlRow& values) const {
  const std::vector<SqlRow> rows = query(sql, values);
  const auto* value = rows.empty() ? nullptr : std::get_if<std::int64_t>(&rows.front().front());
  return value == nullptr ? 0 : *value;
}

void Sqlite::script(const std::string& sql) const {
  budget_->begin();
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

std::int64_t Sqlite::changed_rows() const { return sqlite3_changes64(handle_.get()); }
bool Sqlite::read_only() const { return sqlite3_db_readonly(handle_.get(), "main") == 1; }
bool Sqlite::in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }

void Sqlite::copy_to(Sqlite& to) const {
  sqlite3_backup* backup = sqlite3_backup_init(to.handle_.get(), "main", handle_.get(), "main");
  if (backup == nullptr) to.fail();
  const int stepped = sqlite3_backup_step(backup, -1);
  const int finished = sqlite3_backup_finish(backup);
  if (finished != SQLITE_OK) to.fail();
  if (stepped != SQLITE_DONE) flashtune::fail(stepped, sqlite3_errstr(stepped), to.path_);
  to.budget_->least = number("PRAGMA page_count") * number("PRAGMA page_size");
}

}  // namespace flashtune
