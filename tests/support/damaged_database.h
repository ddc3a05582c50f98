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

/// Four trials (br 16 to 128) and two bests, of two buckets.
inline std::filesystem::path sound_database(const TempFolder& folder) {
  const std::filesystem::path path = folder / "tuning.db";
  Database db = Database::open(path);
  for (const int br : {16, 32, 64, 128}) db.finish(sample_trial(br));
  db.put_best(sample_best(4096));
  db.put_best(sample_best(1024));
  return path;
}

}  // namespace flashtune::testing
