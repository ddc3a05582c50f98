// What a Database is made of; shared by the files that implement it, and by nobody else.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "cache/database.h"
#include "cache/rows.h"
#include "cache/schema.h"
#include "cache/sqlite.h"

namespace flashtune {

enum class Table { kTrials, kBests };
constexpr const char* name_of(Table table) { return table == Table::kTrials ? "trials" : "bests"; }

/// " WHERE a = ?1 AND ..." with its values.
struct Where {
  std::string sql;
  SqlRow values;
  void add(const char* condition, SqlValue value) {
    values.push_back(std::move(value));
    sql += fmt::format("{}{} ?{}", sql.empty() ? " WHERE " : " AND ", condition, values.size());
  }
};

/// An open connection whose schema is today's.
struct Opened {
  Sqlite db;
  Migrated migrated;
};

struct Database::Impl {
  Impl(Opened opened, std::filesystem::path file, bool reads_only)
      : db(std::move(opened.db)), migrated(std::move(opened.migrated)), path(std::move(file)), read_only(reads_only) {}

  Sqlite db;
  Migrated migrated;
  std::filesystem::path path;
  bool read_only;
  std::set<std::pair<Table, std::int64_t>> damaged, newer;  // rows that were passed over
  std::recursive_mutex mutex;                               // a transaction holds it while its body calls in again
  int depth = 0;                                            // of nested transactions

  /// The record of a row; a row that is none is remembered.
  template <class Record>
  std::optional<Record> record_of(Table table, const SqlRow& row, Judged<Record> judged) {
    if (auto* record = std::get_if<Record>(&judged)) return std::move(*record);
    const bool is_newer = std::get<RowFault>(judged).kind == RowFault::Kind::kNewer;
    (is_newer ? newer : damaged).emplace(table, std::get<std::int64_t>(row.front()));
    return std::nullopt;
  }

  template <class Record>
  std::vector<Record> select(Table table, const std::string& columns, const Where& where,
                             Judged<Record> (*judge)(const SqlRow&));
  SkippedRows left_by_migration() const;
  std::vector<Trial> trials(const Where& where);
  std::vector<Best> bests(const Where& where);

  /// Takes back what the transaction at `depth` did.
  void undo();
};

}  // namespace flashtune
