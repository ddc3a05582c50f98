// Schema version 2, and the way there from every older version.
#include "cache/schema.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <string_view>
#include <system_error>
#include <vector>

#include "cache/beside.h"
#include "cache/error.h"
#include "cache/plain_text.h"
#include "cache/rows.h"

namespace flashtune {
namespace {

constexpr int kApplicationId = 0x66746E65;  // "ftne", in the file's header: this is ours

// STRICT, so that what is read back has the type that was written. Trials hold their problem exactly; bests are looked
// up by its bucket. op, dtype and head_dim repeat what the problem says, for filters; check() compares them.
constexpr const char* kTables = R"sql(
CREATE TABLE trials(
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  device_name TEXT NOT NULL, sm_count INTEGER NOT NULL, arch INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  problem TEXT NOT NULL, op TEXT NOT NULL, dtype TEXT NOT NULL, head_dim INTEGER NOT NULL,
  cubin_digest TEXT NOT NULL,
  policy TEXT NOT NULL,
  outcome TEXT NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL,
  registers INTEGER NOT NULL, spill_bytes INTEGER NOT NULL, stack_bytes INTEGER NOT NULL,
  smem_static INTEGER NOT NULL, max_threads INTEGER NOT NULL,
  median_us REAL NOT NULL, spread_us REAL NOT NULL, warm_us REAL NOT NULL,
  samples INTEGER NOT NULL, sm_clock_mhz INTEGER NOT NULL,
  driver TEXT NOT NULL, compiler TEXT NOT NULL, recorded_at TEXT NOT NULL
) STRICT;
CREATE INDEX trials_by_problem ON trials(problem, device_name);
CREATE TABLE bests(
  id INTEGER PRIMARY KEY,
  device_name TEXT NOT NULL, sm_count INTEGER NOT NULL, arch INTEGER NOT NULL,
  bucket TEXT NOT NULL,
  problem TEXT NOT NULL, op TEXT NOT NULL, dtype TEXT NOT NULL, head_dim INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  grade TEXT NOT NULL,
  default_us REAL NOT NULL, median_us REAL NOT NULL, spread_us REAL NOT NULL, warm_us REAL NOT NULL,
  samples INTEGER NOT NULL, sm_clock_mhz INTEGER NOT NULL,
  cubin_digest TEXT NOT NULL, policy TEXT NOT NULL,
  driver TEXT NOT NULL, compiler TEXT NOT NULL, recorded_at TEXT NOT NULL,
  UNIQUE(device_name, sm_count, arch, bucket, grade)
) STRICT;
)sql";

/// An older version: its tables, and the queries that present its rows in the first of today's columns
/// (trial_columns(), best_columns()). Every older version leads straight here, so a new version adds one entry and
/// mends the others.
struct OldVersion {
  int version;
  const char* tables;
  const char* trials;
  const char* bests;  // oldest first: where several rows now share a bucket, the newest stays
};
constexpr OldVersion kOldVersions[] = {
    // 1: bests were found by their exact problem; attempts and warm times were not kept.
    {1, R"sql(
CREATE TABLE trials(
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  device_name TEXT NOT NULL, sm_count INTEGER NOT NULL, arch INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  problem TEXT NOT NULL,
  cubin_digest TEXT NOT NULL,
  policy TEXT NOT NULL,
  outcome TEXT NOT NULL, detail TEXT NOT NULL,
  registers INTEGER NOT NULL, spill_bytes INTEGER NOT NULL, stack_bytes INTEGER NOT NULL,
  smem_static INTEGER NOT NULL, max_threads INTEGER NOT NULL,
  median_us REAL NOT NULL, spread_us REAL NOT NULL,
  samples INTEGER NOT NULL, sm_clock_mhz INTEGER NOT NULL,
  driver TEXT NOT NULL, compiler TEXT NOT NULL, recorded_at TEXT NOT NULL
) STRICT;
CREATE TABLE bests(
  id INTEGER PRIMARY KEY,
  device_name TEXT NOT NULL, sm_count INTEGER NOT NULL, arch INTEGER NOT NULL,
  problem TEXT NOT NULL,
  candidate TEXT NOT NULL,
  grade TEXT NOT NULL,
  default_us REAL NOT NULL, median_us REAL NOT NULL, spread_us REAL NOT NULL,
  samples INTEGER NOT NULL, sm_clock_mhz INTEGER NOT NULL,
  cubin_digest TEXT NOT NULL, policy TEXT NOT NULL,
  driver TEXT NOT NULL, compiler TEXT NOT NULL, recorded_at TEXT NOT NULL,
  UNIQUE(device_name, sm_count, arch, problem, grade)
) STRICT;
)sql",
     "SELECT id, device_name, sm_count, arch, candidate, problem, cubin_digest, policy, outcome, detail, "
     "CASE outcome WHEN 'in_flight' THEN 1 ELSE 0 END, registers, spill_bytes, stack_bytes, smem_static, max_threads, "
     "median_us, spread_us, 0.0, samples, sm_clock_mhz, driver, compiler, recorded_at FROM trials ORDER BY id",
     "SELECT id, device_name, sm_count, arch, candidate, problem, cubin_digest, policy, grade, default_us, "
     "median_us, spread_us, 0.0, samples, sm_clock_mhz, driver, compiler, recorded_at FROM bests ORDER BY recorded_at, "
     "id"},
};

/// Nothing for the current version, and for one that never was.
const OldVersion* old_version(int version) {
  for (const OldVersion& old : kOldVersions)
    if (old.version == version) return &old;
  return nullptr;
}

/// A statement of the schema without the spaces and line ends between its words.
std::string normalised(const std::string& sql) {
  const std::string_view marks = "(),";
  std::string out;
  bool space = false;
  for (const char c : sql) {
    const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    const bool mark = marks.find(c) != std::string_view::npos;
    if (!blank && space && !mark && !out.empty() && marks.find(out.back()) == std::string_view::npos) out += ' ';
    space = blank;
    if (!blank) out += c;
  }
  return out;
}

/// What a schema holds: "table trials", "index trials_by_problem", ..., each with its table and its statement.
using Objects = std::map<std::string, std::string>;

Objects objects_of(const Sqlite& db) {
  const auto text = [](const SqlValue& value) {
    const auto* held = std::get_if<std::string>(&value);
    return held == nullptr ? std::string() : *held;
  };
  Objects objects;
  db.each("SELECT type, name, tbl_name, sql FROM sqlite_schema", {}, [&](SqlRow&& row) {
    objects[text(row[0]) + " " + text(row[1])] = text(row[2]) + ": " + normalised(text(row[3]));
  });
  return objects;
}

/// The first way in which a schema is not what its version makes; "" when there is none.
std::string foreign_part(const Objects& found, int version) {
  const Sqlite fresh = Sqlite::in_memory();
  fresh.script(tables_of_version(version));
  const Objects made = objects_of(fresh);
  std::string foreign;
  for (const auto& [name, sql] : found)  // by rising name: an index may only be there because of what follows
    if (!made.contains(name)) foreign = fmt::format("it holds '{}', which no flashtune makes", printable(name));
  if (!foreign.empty()) return foreign;
  for (const auto& [name, sql] : made) {
    const auto there = found.find(name);
    if (there == found.end()) return fmt::format("it has no {}", name);
    if (there->second != sql) return fmt::format("its {} is not as flashtune makes it", name);
  }
  return {};
}

/// The records of an older version; rows that give none go into `left`.
template <class Record>
std::vector<Record> read_all(const Sqlite& db, const char* table, const char* sql,
                             Judged<Record> (*judge)(const SqlRow&), std::vector<LeftRow>& left) {
  std::vector<Record> records;
  db.each(sql, {}, [&](SqlRow&& row) {
    Judged<Record> judged = judge(row);
    if (auto* record = std::get_if<Record>(&judged))
      records.push_back(std::move(*record));
    else
      left.push_back({table, std::get<std::int64_t>(row.front()), std::get<RowFault>(std::move(judged))});
  });
  return records;
}

std::vector<LeftRow> rebuild(const Sqlite& db, int from) {
  std::vector<LeftRow> left;
  std::vector<Trial> trials;
  std::vector<Best> bests;
  if (const OldVersion* old = old_version(from)) {
    trials = read_all<Trial>(db, "trials", old->trials, trial_of, left);
    bests = read_all<Best>(db, "bests", old->bests, best_of, left);
    db.script("DROP TABLE trials; DROP TABLE bests;");
  }
  db.script(kTables);
  for (const Trial& trial : trials) store(db, trial);
  for (const Best& best : bests) store(db, best);
  db.script(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};", kApplicationId, kSchemaVersion));
  return left;
}

/// Looks at the version again once it holds the lock, because another process may have migrated meanwhile; `before`
/// gets the version that was found.
std::vector<LeftRow> migrate_locked(const Sqlite& db, const std::function<void(int)>& before) {
  std::vector<LeftRow> left;
  db.script("BEGIN IMMEDIATE");
  try {
    const int version = schema_version_of(db);
    if (version != kSchemaVersion) {
      before(version);
      left = rebuild(db, version);
    }
    db.script("COMMIT");
  } catch (...) {
    if (db.in_transaction()) db.script("ROLLBACK");
    throw;
  }
  return left;
}

}  // namespace

const char* tables_of_version(int version) {
  if (version == kSchemaVersion) return kTables;
  const OldVersion* old = old_version(version);
  return old == nullptr ? nullptr : old->tables;
}

int schema_version_of(const Sqlite& db) {
  db.script("SAVEPOINT look");  // one view of all: another process may be creating the tables right now
  const auto version = static_cast<int>(db.number("PRAGMA user_version"));
  const std::int64_t application = db.number("PRAGMA application_id");
  const Objects objects = objects_of(db);
  db.script("RELEASE look");
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::kIo, fmt::format("{} {}; name another file with --db", db.path().string(), why));
  };
  if (application == 0 && version == 0 && objects.empty()) return 0;
  if (application != kApplicationId || version < 1) refuse("is a database of another program and was left as it is");
  if (version > kSchemaVersion)
    throw Error(ErrorKind::kIo,
                fmt::format("{} has schema {}, and this flashtune knows schemas up to {}: it was written by a newer "
                            "flashtune; update this one, or name another file with --db",
                            db.path().string(), version, kSchemaVersion));
  if (tables_of_version(version) == nullptr)
    refuse(fmt::format("says that it has schema {}, which never was", version));
  if (const std::string foreign = foreign_part(objects, version); !foreign.empty())
    refuse(fmt::format("says that it has schema {} of flashtune, but {}: it was left as it is", version, foreign));
  return version;
}

Migrated migrate(const Sqlite& db) {
  return {migrate_locked(db, [](int) {}), {}};
}

Migrated migrate_file(const Sqlite& db) {
  Migrated migrated;
  try {
    migrated.left = migrate_locked(db, [&](int version) {
      if (version == 0) return;
      const auto copy = [&](const TemporaryFile& file) {
        Sqlite to = Sqlite::open(file.path(), Sqlite::Access::kReadWrite);
        to.script("PRAGMA journal_mode = MEMORY");  // a copy that is cut short goes, and so needs no journal
        // Through a second connection, which sees the file as it is before this transaction.
        Sqlite::open(db.path(), Sqlite::Access::kReadOnly).copy_to(to);
      };
      migrated.backup = keep_beside(db.path(), fmt::format(".v{}.bak", version), "a backup of the database", copy);
    });
  } catch (...) {
    std::error_code ignored;
    if (!migrated.backup.empty()) std::filesystem::remove(migrated.backup, ignored);
    throw;
  }
  return migrated;
}

}  // namespace flashtune
