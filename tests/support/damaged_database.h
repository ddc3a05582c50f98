// Databases that are not what they should be, made as accidents and strangers make them: through SQLite itself, with
// none of the project's locks on.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "cache/database.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune::testing {

/// Runs statements on the file as any program could.
inline void tamper(const std::filesystem::path& path, const std::string& sql) {
  sqlite3* db = nullptr;
  char* why = nullptr;
  int code = sqlite3_open(path.c_str(), &db);
  if (code == SQLITE_OK) code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &why);
  const std::string message = why == nullptr ? sqlite3_errmsg(db) : why;
  sqlite3_free(why);
  sqlite3_close(db);
  if (code != SQLITE_OK) throw std::runtime_error("tamper: " + message + " in " + sql);
}

/// The same past the types and constraints of the tables: they are taken away before, and put back behind it.
inline void tamper_past_constraints(const std::filesystem::path& path, const std::string& sql) {
  tamper(path,
         "PRAGMA writable_schema = ON;"
         "CREATE TEMP TABLE kept AS SELECT name, sql FROM main.sqlite_schema;"
         "UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ' NOT NULL', ''), ' TEXT', ''), ') "
         "STRICT', ')') WHERE type = 'table';"
         "PRAGMA writable_schema = RESET;" +
             sql +
             ";PRAGMA writable_schema = ON;"
             "UPDATE main.sqlite_schema AS s SET sql = (SELECT sql FROM kept WHERE kept.name = s.name);"
             "PRAGMA writable_schema = RESET;");
}

/// What makes the golden file of a schema version.
inline std::string golden_schema(int version) {
  return read_file(FLASHTUNE_SOURCE_DIR "/tests/golden/schema_v" + std::to_string(version) + ".sql");
}

/// A database in a folder of its own, for a test to harm: four trials (br 16 to 128) and two bests, of two buckets.
class DatabaseFile {
 public:
  DatabaseFile() {
    Database db = open();
    for (const int br : {16, 32, 64, 128}) db.finish(sample_trial(br));
    db.put_best(sample_best(4096));
    db.put_best(sample_best(1024));
  }
  /// The same, tampered with.
  explicit DatabaseFile(const std::string& sql) : DatabaseFile() { tamper(sql); }
  /// As a flashtune of that schema left it: the golden file of the version.
  static DatabaseFile of_schema(int version) { return {NoRows(), golden_schema(version)}; }

  const TempFolder& folder() const { return folder_; }
  std::filesystem::path path() const { return folder_ / "tuning.db"; }
  std::string bytes() const { return read_file(path()); }
  /// Of the files that are in its folder now.
  std::string names() const { return files_of(folder_.path()); }

  Database open() const { return Database::open(path()); }
  Database read() const { return Database::open(path(), Database::Mode::kReadOnly); }
  void tamper(const std::string& sql) const { testing::tamper(path(), sql); }
  void tamper_past_constraints(const std::string& sql) const { testing::tamper_past_constraints(path(), sql); }

 private:
  struct NoRows {};
  DatabaseFile(NoRows, const std::string& sql) { tamper(sql); }

  TempFolder folder_;
};

}  // namespace flashtune::testing
