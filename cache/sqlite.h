// SQLite at its smallest: an open file and queries with bound values. With sqlite.cpp the only place that names
// sqlite3.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cache/error.h"

struct sqlite3;

namespace flashtune {

/// Another process holds a lock that was not given up in time.
struct SqliteBusy : Error {
  using Error::Error;
};

using SqlValue = std::variant<std::int64_t, double, std::string>;
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

  /// Runs one statement to its end with `values` bound to ?1, ?2, ...; returns all its rows. A NULL reads as an empty
  /// text. Throws Error(kInvalidArgument) for a value that is not a number (SQLite would keep it as NULL).
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
  Sqlite(std::unique_ptr<sqlite3, Close> handle, std::filesystem::path path)
      : handle_(std::move(handle)), path_(std::move(path)) {}
  static Sqlite open_named(const std::string& name, int flags, const std::filesystem::path& path);
  std::unique_ptr<sqlite3, Close> handle_;
  std::filesystem::path path_;
};

}  // namespace flashtune
