// SQLite at its smallest: an open file and queries with bound values. With sqlite.cpp the only place that names
// sqlite3.
//
// A file may come from a stranger. Every connection is set up as SQLite advises for such files: defensive, nothing in
// the schema is trusted, no views, triggers or mapped memory, cells checked, limits far below the usual, and a
// statement that takes far more steps, or returns far more bytes, than a file of this size can be worth ends with an
// error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cache/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace flashtune {

/// Another process holds a lock that was not given up in time.
struct SqliteBusy : Error {
  using Error::Error;
};

/// Bytes as they are, which no column of ours holds: a damaged file may.
struct SqlBlob {
  std::string bytes;
  bool operator==(const SqlBlob& other) const { return bytes == other.bytes; }
  bool operator<(const SqlBlob& other) const { return bytes < other.bytes; }
};
using SqlNull = std::monostate;
using SqlValue = std::variant<std::int64_t, double, std::string, SqlNull, SqlBlob>;
using SqlRow = std::vector<SqlValue>;

/// An open database; closes when it goes. Every failure throws Error(kIo) that names the file and what to do.
class Sqlite {
 public:
  enum class Access {
    kReadWrite,  // created when missing
    kReadOnly,   // refuses writes; yet may clear the log's files away when it is the last to close
    kImmutable,  // for a file that nobody changes: no locks and no files beside it, so any folder will do
  };
  static Sqlite open(const std::filesystem::path& path, Access access);
  static Sqlite in_memory();
  Sqlite(Sqlite&&) noexcept = default;
  Sqlite& operator=(Sqlite&&) noexcept = default;
  ~Sqlite() = default;

  /// Runs one statement to its end with `values` bound to ?1, ?2, ...; hands each of its rows to `take`, which may run
  /// other statements. Throws Error(kInvalidArgument) for a value that is not a number (SQLite would keep it as NULL).
  /// What SELECT, INSERT, UPDATE and DELETE compile to is kept for the next time.
  void each(const std::string& sql, const SqlRow& values, const std::function<void(SqlRow&&)>& take) const;
  /// All rows at once.
  std::vector<SqlRow> query(const std::string& sql, const SqlRow& values = {}) const;
  /// The whole number in the first column of the first row; 0 when there is no row.
  std::int64_t number(const std::string& sql, const SqlRow& values = {}) const;
  /// Runs statements separated by semicolons.
  void script(const std::string& sql) const;

  std::int64_t changed_rows() const;  // by the latest statement
  bool read_only() const;
  bool in_transaction() const;
  const std::filesystem::path& path() const { return path_; }

  /// Copies every page of this database over those of `to`.
  void copy_to(Sqlite& to) const;

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;
  /// What one statement may take; on the heap, because SQLite keeps a pointer to it.
  struct Budget {
    std::filesystem::path path;
    std::int64_t least = 0;  // bytes that there are beside those of the file
    std::int64_t steps = 0, steps_left = 0;
    void begin();  // a statement
    bool allows_steps(std::int64_t count);
    std::int64_t bytes_now() const;
  };

  Sqlite(std::unique_ptr<sqlite3, Close> handle, std::filesystem::path path);
  static Sqlite open_named(const std::string& name, int flags, const std::filesystem::path& path);
  void harden() const;
  Statement prepare(const std::string& sql) const;
  void run(sqlite3_stmt* statement, const SqlRow& values, const std::function<void(SqlRow&&)>& take) const;
  [[noreturn]] void fail() const;

  std::unique_ptr<Budget> budget_;  // outlives the handle
  std::unique_ptr<sqlite3, Close> handle_;
  std::filesystem::path path_;
  mutable std::multimap<std::string, Statement> kept_;  // by their text; those in use are not in it
};

}  // namespace flashtune
