// What is wrong with a database, and how it gets right: every row judged as readers judge it, SQLite asked about the
// file.
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cache/database_impl.h"
#include "cache/json.h"
#include "cache/plain_text.h"

namespace flashtune {
namespace {

struct BadRow {
  Table table;
  std::int64_t id;
  RowFault fault;
  SqlRow values;
};

const std::string& columns_of(Table table) { return table == Table::kTrials ? trial_columns() : best_columns(); }

std::vector<std::string> names_of(Table table) {
  std::vector<std::string> names;
  for (std::string_view rest = columns_of(table); !rest.empty();) {
    const std::size_t at = rest.find(", ");
    names.emplace_back(rest.substr(0, at));
    rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 2);
  }
  return names;
}

RowFault fault_of_row(Table table, const SqlRow& row, bool& sound) {
  const auto fault_in = [&](auto judged) {
    sound = judged.index() == 0;
    return sound ? RowFault() : std::get<RowFault>(std::move(judged));
  };
  return table == Table::kTrials ? fault_in(trial_of(row)) : fault_in(best_of(row));
}

/// Every row that is no record, by table and id.
std::vector<BadRow> bad_rows(const Sqlite& db) {
  std::vector<BadRow> bad;
  for (const Table table : {Table::kTrials, Table::kBests})
    db.each(fmt::format("SELECT {} FROM {} NOT INDEXED ORDER BY id", columns_of(table), name_of(table)), {},
            [&](SqlRow&& row) {
              bool sound = false;
              RowFault fault = fault_of_row(table, row, sound);
              const auto id = std::get<std::int64_t>(row.front());
              if (!sound) bad.push_back({table, id, std::move(fault), std::move(row)});
            });
  return bad;
}

std::vector<std::string> complaints_of(const Sqlite& db) {
  std::vector<std::string> lines;
  try {
    for (const SqlRow& row : db.query("PRAGMA integrity_check"))
      if (const auto* line = std::get_if<std::string>(&row.front()); line != nullptr && *line != "ok")
        lines.push_back("SQLite: " + printable(*line));
  } catch (const SqliteBusy&) {
    throw;
  } catch (const Error& error) {
    lines.emplace_back(error.what());  // pages so damaged that the check cannot end
  }
  return lines;
}

using RowIds = std::set<std::pair<Table, std::int64_t>>;

/// Rows that a sound index would not let stand beside another one: all but the newest of each key. Not those of
/// `leaving`, nor such as give way to one of them.
std::vector<BadRow> duplicates(const Sqlite& db, Table table, const RowIds& leaving) {
  const char* key = table == Table::kTrials ? "key" : "bucket, device_name, sm_count, arch, grade";
  std::map<SqlRow, std::pair<SqlValue, std::int64_t>> newest;  // by key: when, and which
  std::vector<std::int64_t> older;
  db.each(fmt::format("SELECT id, recorded_at, {} FROM {} NOT INDEXED ORDER BY id", key, name_of(table)), {},
          [&](SqlRow&& row) {
            const auto id = std::get<std::int64_t>(row[0]);
            if (leaving.contains({table, id})) return;
            const auto [held, is_new] = newest.try_emplace(SqlRow(row.begin() + 2, row.end()), row[1], id);
            if (is_new) return;
            const bool replaces = !(row[1] < held->second.first);
            older.push_back(replaces ? held->second.second : id);
            if (replaces) held->second = {row[1], id};
          });
  std::vector<BadRow> found;
  for (const std::int64_t id : older)
    for (SqlRow& row :
         db.query(fmt::format("SELECT {} FROM {} NOT INDEXED WHERE id = ?1", columns_of(table), name_of(table)), {id}))
      found.push_back({table, id, {RowFault::Kind::kDamaged, "a newer row has its key"}, std::move(row)});
  return found;
}

std::string hex_of(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

/// A value as it is: what JSON has no form for becomes an object that says what it was.
Json json_of(const SqlValue& value) {
  const auto object = [](const char* name, std::string text) {
    Json json = Json::object();
    json[name] = std::move(text);
    return json;
  };
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return *integer;
  if (const auto* real = std::get_if<double>(&value))
    return std::isfinite(*real) ? Json(*real) : object("real", fmt::format("{}", *real));
  if (const auto* blob = std::get_if<SqlBlob>(&value)) return object("blob_hex", hex_of(blob->bytes));
  if (const auto* text = std::get_if<std::string>(&value))
    return is_utf8(*text) ? Json(*text) : object("text_hex", hex_of(*text));
  return nullptr;
}

std::string line_of(const BadRow& row) {
  Json columns = Json::object();
  const std::vector<std::string> names = names_of(row.table);
  for (std::size_t i = 0; i < names.size(); ++i) columns[names[i]] = json_of(row.values.at(i));
  const Json line = {{"table", name_of(row.table)}, {"id", row.id}, {"why", row.fault.why}, {"columns", columns}};
  return printable_json(line.dump(-1, ' ', false, Json::error_handler_t::replace)) + "\n";
}

/// Writes the tables anew, without the rows that leave: with the indexes, whatever was wrong with them goes.
void write_anew(const Sqlite& db, const std::vector<BadRow>& leaving) {
  constexpr Table kTables[] = {Table::kTrials, Table::kBests};
  for (const Table table : kTables) {
    const std::string name = name_of(table);
    db.script(fmt::format("CREATE TEMP TABLE leaving_{}(id INTEGER PRIMARY KEY)", name));
    for (const BadRow& row : leaving)
      if (row.table == table) db.query(fmt::format("INSERT INTO leaving_{} VALUES(?1)", name), {row.id});
    db.script(
        fmt::format("CREATE TEMP TABLE staying_{0} AS SELECT {1} FROM main.{0} NOT INDEXED WHERE id NOT IN "
                    "(SELECT id FROM leaving_{0}); DROP TABLE main.{0}; DROP TABLE leaving_{0}",
                    name, columns_of(table)));
  }
  db.script(tables_of_version(kSchemaVersion));
  for (const Table table : kTables)
    db.script(fmt::format("INSERT INTO main.{0}({1}) SELECT {1} FROM staying_{0}; DROP TABLE staying_{0}",
                          name_of(table), columns_of(table)));
}

Damage damage_of(const char* table, std::int64_t id, const RowFault& fault) {
  const bool newer = fault.kind == RowFault::Kind::kNewer;
  return {newer ? Damage::Kind::kNewerRow : Damage::Kind::kDamagedRow, table, id, fault.why};
}

}  // namespace

std::vector<Damage> Database::check() const {
  std::vector<Damage> found;
  reading([&] {
    for (std::string& line : complaints_of(impl_->db)) found.push_back({Damage::Kind::kFile, "", 0, std::move(line)});
    try {
      for (const LeftRow& row : impl_->migrated.left) found.push_back(damage_of(row.table, row.id, row.fault));
      for (const BadRow& row : bad_rows(impl_->db)) found.push_back(damage_of(name_of(row.table), row.id, row.fault));
    } catch (const SqliteBusy&) {
      throw;
    } catch (const Error& error) {
      found.push_back({Damage::Kind::kFile, "", 0, error.what()});  // pages so damaged that a query cannot end
    }
  });
  return found;
}

Repair Database::repair(const std::function<void(const std::string& lines)>& keep) {
  Repair done;
  const Sqlite& db = impl_->db;
  transaction([&] {
    done.rebuilt = !complaints_of(db).empty();
    std::vector<BadRow> leaving;
    for (BadRow& row : bad_rows(db)) {
      if (row.fault.kind == RowFault::Kind::kNewer)
        ++done.newer_rows;
      else
        leaving.push_back(std::move(row));
    }
    if (done.rebuilt) {
      RowIds ids;
      for (const BadRow& row : leaving) ids.emplace(row.table, row.id);
      for (const Table table : {Table::kTrials, Table::kBests})
        for (BadRow& row : duplicates(db, table, ids)) leaving.push_back(std::move(row));
    }
    std::string lines;
    for (const BadRow& row : leaving) lines += line_of(row);
    if (!leaving.empty()) keep(lines);
    done.rows_moved = static_cast<int>(leaving.size());
    if (!done.rebuilt) {
      for (const BadRow& row : leaving)
        db.query(fmt::format("DELETE FROM {} WHERE id = ?1", name_of(row.table)), {row.id});
      return;
    }
    write_anew(db, leaving);
    done.left = complaints_of(db);
  });
  if (!done.left.empty()) {  // pages that belong to nobody, perhaps: those go when the file is written anew
    try {
      db.script("VACUUM");
      done.left = complaints_of(db);
    } catch (const Error&) {
    }
  }
  return done;
}

}  // namespace flashtune
