// Schema version 2, and the way there from every older version.
#include "cache/schema.h"

#include <fmt/format.h>

#include <functional>
#include <system_error>

#include "cache/error.h"
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

/// An older version, as the queries that present its rows in today's columns (trial_columns(), best_columns()). Every
/// older version leads straight here, so a new version adds one entry and mends the others.
struct OldVersion {
  int version;
  const char* trials;
  const char* bests;  // oldest first: where several rows now share a bucket, the newest stays
};
constexpr OldVersion kOldVersions[] = {
    // 1: bests were found by their exact problem; attempts and warm times were not kept.
    {1,
     "SELECT id, device_name, sm_count, arch, candidate, problem, cubin_digest, policy, outcome, detail, "
     "CASE outcome WHEN 'in_flight' THEN 1 ELSE 0 END, registers, spill_bytes, stack_bytes, smem_static, max_threads, "
     "median_us, spread_us, 0.0, samples, sm_clock_mhz, driver, compiler, recorded_at FROM trials ORDER BY id",
     "SELECT id, device_name, sm_count, arch, candidate, problem, cubin_digest, policy, grade, default_us, "
     "median_us, spread_us, 0.0, samples, sm_clock_mhz, driver, compiler, recorded_at FROM bests ORDER BY recorded_at, "
     "id"},
};

const OldVersion& old_version(const Sqlite& db, int version) {
  for (const OldVersion& old : kOldVersions)
    if (old.version == version) return old;
  throw Error(ErrorKind::kIo, fmt::format("{} says that it has schema {}, which never was; name another file with --db",
                                          db.path().string(), version));
}

/// Decodes rows of an older version; a row that cannot be read stops the migration.
template <class Record, class Decode>
std::vector<Record> read_all(const Sqlite& db, const char* sql, const char* what, Decode decode) {
  std::vector<Record> records;
  for (const SqlRow& row : db.query(sql)) {
    try {
      records.push_back(decode(row));
    } catch (const Error& e) {
      throw Error(ErrorKind::kIo, fmt::format("{} cannot be migrated and was left as it was: {} {}: {}",
                                              db.path().string(), what, std::get<std::int64_t>(row.front()), e.what()));
    }
  }
  return records;
}

void rebuild(const Sqlite& db, int from) {
  std::vector<Trial> trials;
  std::vector<Best> bests;
  if (from != 0) {
    const OldVersion& old = old_version(db, from);
    trials = read_all<Trial>(db, old.trials, "trial", trial_of);
    bests = read_all<Best>(db, old.bests, "best", best_of);
    db.script("DROP TABLE trials; DROP TABLE bests;");
  }
  db.script(kTables);
  for (const Trial& trial : trials) store(db, trial);
  for (const Best& best : bests) store(db, best);
  db.script(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};", kApplicationId, kSchemaVersion));
}

/// Looks at the version again once it holds the lock, because another process may have migrated meanwhile; `before`
/// gets the version that was found.
void migrate_locked(const Sqlite& db, const std::function<void(int)>& before) {
  db.script("BEGIN IMMEDIATE");
  try {
    const int version = schema_version_of(db);
    if (version != kSchemaVersion) {
      before(version);
      rebuild(db, version);
    }
    db.script("COMMIT");
  } catch (...) {
    if (db.in_transaction()) db.script("ROLLBACK");
    throw;
  }
}

/// "<file>.v1.bak", or with a number behind it where that is taken: an older backup is never overwritten.
std::filesystem::path backup_name(const std::filesystem::path& file, int version) {
  const std::string base = fmt::format("{}.v{}.bak", file.string(), version);
  std::filesystem::path name = base;
  for (int i = 2; std::filesystem::exists(name); ++i) name = fmt::format("{}.{}", base, i);
  return name;
}

}  // namespace

int schema_version_of(const Sqlite& db) {
  db.script("SAVEPOINT look");  // one view of all three: another process may be creating the tables right now
  const auto version = static_cast<int>(db.number("PRAGMA user_version"));
  const std::int64_t application = db.number("PRAGMA application_id");
  const std::int64_t tables = db.number("SELECT count(*) FROM sqlite_schema");
  db.script("RELEASE look");
  if (application == 0 && version == 0 && tables == 0) return 0;
  if (application != kApplicationId || version < 1)
    throw Error(ErrorKind::kIo,
                fmt::format("{} is a database of another program and was left as it is; name another file with --db",
                            db.path().string()));
  if (version > kSchemaVersion)
    throw Error(ErrorKind::kIo,
                fmt::format("{} has schema {}, and this flashtune knows schemas up to {}: it was written by a newer "
                            "flashtune; update this one, or name another file with --db",
                            db.path().string(), version, kSchemaVersion));
  return version;
}

void migrate(const Sqlite& db) {
  migrate_locked(db, [](int) {});
}

void migrate_file(const Sqlite& db) {
  std::filesystem::path backup;
  try {
    migrate_locked(db, [&](int version) {
      if (version == 0) return;
      backup = backup_name(db.path(), version);
      // Through a second connection, which sees the file as it is before this transaction.
      Sqlite copy = Sqlite::open(backup, Sqlite::Access::kReadWrite);
      Sqlite::open(db.path(), Sqlite::Access::kReadOnly).copy_to(copy);
    });
  } catch (...) {
    std::error_code ignored;
    if (!backup.empty()) std::filesystem::remove(backup, ignored);
    throw;
  }
}

}  // namespace flashtune
