// SQLite's calls and its error codes, turned into values and sentences.
#include "cache/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cmath>
#include <string_view>

namespace flashtune {
namespace {

constexpr int kBusySeconds = 30;  // transactions take milliseconds; an import of a fleet's results a few seconds

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
    default: return "the database " + path + " refused a statement";
  }
}

[[noreturn]] void fail(int code, std::string_view message, const std::filesystem::path& path) {
  const int primary = code & 0xff;
  const std::string what = fmt::format("{} (SQLite: {})", advice(primary, path.string()), message);
  if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) throw SqliteBusy(ErrorKind::kIo, what);
  throw Error(ErrorKind::kIo, what);
}

[[noreturn]] void fail(sqlite3* handle, const std::filesystem::path& path) {
  fail(sqlite3_extended_errcode(handle), sqlite3_errmsg(handle), path);
}

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

int bind(sqlite3_stmt* statement, int index, const SqlValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return sqlite3_bind_int64(statement, index, *integer);
  if (const auto* text = std::get_if<std::string>(&value))
    return sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  const double real = std::get<double>(value);
  if (std::isnan(real)) throw Error(ErrorKind::kInvalidArgument, "a value that is not a number cannot be stored");
  return sqlite3_bind_double(statement, index, real);
}

SqlValue column(sqlite3_stmt* statement, int index) {
  switch (sqlite3_column_type(statement, index)) {
    case SQLITE_INTEGER: return std::int64_t{sqlite3_column_int64(statement, index)};
    case SQLITE_FLOAT: return sqlite3_column_double(statement, index);
    default: break;
  }
  const void* bytes = sqlite3_column_blob(statement, index);  // before its size: it may convert
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, index));
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
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
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '%' || c == '?' || c == '#')
      uri += fmt::format("%{:02X}", static_cast<unsigned>(c));
    else
      uri += c;
  }
  return uri.append(query);
}

}  // namespace

void Sqlite::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }

Sqlite Sqlite::open_named(const std::string& name, int flags, const std::filesystem::path& path) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &raw, flags | SQLITE_OPEN_FULLMUTEX, nullptr);
  std::unique_ptr<sqlite3, Close> handle(raw);  // SQLite hands one out even when it fails
  if (code != SQLITE_OK) fail(code, raw == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(raw), path);
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, kBusySeconds * 1000);
  return {std::move(handle), path};
}

Sqlite Sqlite::open(const std::filesystem::path& path, Access access) {
  if (access == Access::kImmutable)
    return open_named(uri_of(path, "?immutable=1"), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, path);
  // A plain name that starts with "file:" would be read as a URI where SQLite was built so: an absolute one cannot.
  const std::string name = std::filesystem::absolute(path).string();
  const int create = access == Access::kReadWrite ? SQLITE_OPEN_CREATE : 0;
  Sqlite db = open_named(name, SQLITE_OPEN_READWRITE | create, path);
  if (access == Access::kReadOnly) db.script("PRAGMA query_only = ON");
  return db;
}

Sqlite Sqlite::in_memory() { return open_named(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ":memory:"); }

std::vector<SqlRow> Sqlite::query(const std::string& sql, const SqlRow& values) const {
  sqlite3_stmt* raw = nullptr;
  const int prepared = sqlite3_prepare_v2(handle_.get(), sql.c_str(), static_cast<int>(sql.size() + 1), &raw, nullptr);
  const Statement statement(raw);
  if (prepared != SQLITE_OK) fail(handle_.get(), path_);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (bind(raw, static_cast<int>(i + 1), values[i]) != SQLITE_OK) fail(handle_.get(), path_);
  std::vector<SqlRow> rows;
  int code = SQLITE_OK;
  while ((code = sqlite3_step(raw)) == SQLITE_ROW) rows.push_back(row_of(raw));
  if (code != SQLITE_DONE) fail(handle_.get(), path_);
  return rows;
}

std::int64_t Sqlite::number(const std::string& sql, const SqlRow& values) const {
  const std::vector<SqlRow> rows = query(sql, values);
  return rows.empty() ? 0 : std::get<std::int64_t>(rows.front().front());
}

void Sqlite::script(const std::string& sql) const {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(handle_.get(), path_);
}

std::int64_t Sqlite::changed_rows() const { return sqlite3_changes64(handle_.get()); }
bool Sqlite::read_only() const { return sqlite3_db_readonly(handle_.get(), "main") == 1; }
bool Sqlite::in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }

void Sqlite::copy_to(Sqlite& to) const {
  sqlite3_backup* backup = sqlite3_backup_init(to.handle_.get(), "main", handle_.get(), "main");
  if (backup == nullptr) fail(to.handle_.get(), to.path_);
  const int stepped = sqlite3_backup_step(backup, -1);
  const int finished = sqlite3_backup_finish(backup);
  if (finished != SQLITE_OK) fail(to.handle_.get(), to.path_);
  if (stepped != SQLITE_DONE) fail(stepped, sqlite3_errstr(stepped), to.path_);
}

}  // namespace flashtune
