// The tuning database: trials and best answers in one SQLite file. Every write is committed when the call returns, so
// that a process killed at any moment loses nothing it was told is stored. Thread-safe; a transaction holds other
// threads off. Several processes may share a file on a local disk; on a network file system give each its own and
// merge() them.
//
// A row that is damaged, or of a newer flashtune, stops nobody: reads pass it over, and skipped() counts it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/records.h"
#include "cache/skipped_rows.h"

namespace flashtune {

/// What `query`, `export` and `prune` select by; an empty field matches all.
struct RecordFilter {
  std::optional<int> arch;
  std::optional<std::string> device_name;
  std::optional<Op> op;
  std::optional<Dtype> dtype;
  std::optional<int> head_dim;
  std::optional<Outcome> outcome;         // selects trials alone: no best has one
  std::optional<std::string> older_than;  // ISO 8601 UTC: rows whose `when` is before it
  std::optional<std::string> driver_not;  // rows measured under another driver (stale ones; modelled rows have none)
  bool empty() const;
};

struct DatabaseInfo {
  std::filesystem::path path;
  int schema_version = 0;
  std::int64_t trials = 0;
  std::int64_t bests = 0;
  std::int64_t bytes = 0;
  bool read_only = false;
  std::vector<DeviceKey> devices;
};

/// Something that check() found.
struct Damage {
  enum class Kind {
    kDamagedRow,
    kNewerRow,  // whole, as far as can be told, but for words that this flashtune does not know
    kFile,      // what SQLite says of the file: no row of its own
  };
  Kind kind = Kind::kDamagedRow;
  std::string table;    // "trials" or "bests"; "" for the file
  std::int64_t id = 0;  // of the row
  std::string why;      // for people
};

/// What repair() did.
struct Repair {
  int rows_moved = 0;
  int newer_rows = 0;             // which stay where they are
  bool rebuilt = false;           // the indexes, because SQLite found fault with the file
  std::vector<std::string> left;  // what SQLite still says of the file
};

class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  /// Opens, creating the file and its folders in kReadWrite. An older schema is migrated inside a transaction after a
  /// backup copy beside the file; a newer one, one that no flashtune makes, a file that is no database, and a folder
  /// that cannot be written throw Error(kIo) that says what to do. kReadOnly needs the file (Error(kNotFound)), creates
  /// nothing, opens it immutable in a folder that cannot be written, and reads an older schema through a migrated copy
  /// in memory.
  static Database open(const std::filesystem::path& path, Mode mode = Mode::kReadWrite);
  static Database in_memory();

  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  // --- trials
  /// Commits that a launch of this trial is about to happen: its outcome is in_flight until finish(). Returns it as
  /// stored: attempts counts the launches since it last ended, so 2 says that one never came back.
  Trial begin_attempt(const TrialKey& key);
  /// Stores the trial's end (by its key); replaces what was known of the same key.
  void finish(const Trial& trial);
  /// Nothing where the row is damaged, too: then what is measured anew replaces it.
  std::optional<Trial> find(const TrialKey& key) const;
  std::vector<Trial> trials(const RecordFilter& filter = {}) const;
  /// All trials of one problem on one device.
  std::vector<Trial> trials_of(const DeviceKey& device, const Problem& problem) const;

  // --- best answers, one per (device, problem bucket, grade); the newest replaces. Grades are measured and modelled,
  // so a modelled answer never replaces a measured one. Error(kInvalidArgument) for another grade.
  void put_best(const Best& best);
  std::vector<Best> bests(const RecordFilter& filter = {}) const;
  /// The one of a device, a problem's bucket and a grade.
  std::optional<Best> find_best(const DeviceKey& device, const Problem& problem, Grade grade) const;

  /// The rows that this object passed over so far, each counted once: in reads, and in migrating an older file.
  SkippedRows skipped() const;
  /// Of those, the ones that a migration left out, and the copy of the old file that keeps them ("" where the file
  /// itself is as it was).
  struct LeftOut {
    SkippedRows rows;
    std::filesystem::path backup;
  };
  std::optional<LeftOut> left_out() const;

  /// Deletes what the filter selects and reclaims the space; returns the number of rows. Refuses an empty filter
  /// (Error(kInvalidArgument)).
  std::int64_t prune(const RecordFilter& filter);

  const std::filesystem::path& path() const;
  DatabaseInfo info() const;
  /// SQLite's integrity check, then every row that is no record; none if sound. All of it at one moment, whoever writes
  /// meanwhile.
  std::vector<Damage> check() const;

  /// Takes damaged rows out of the tables in one transaction; rows of a newer flashtune stay. `keep` is given them
  /// first, as lines of JSON with every column as it is, and stores them: when it throws, nothing was changed. It is
  /// not called when there are none. Where SQLite finds fault with the file, the tables are written anew; of two rows
  /// that only a broken index let share a key, the newer one stays.
  Repair repair(const std::function<void(const std::string& lines)>& keep);

  /// Runs `body` in one transaction; rolls back when it throws.
  template <class Body>
  void transaction(Body&& body) {
    begin();
    try {
      body();
    } catch (...) {
      rollback();
      throw;
    }
    commit();
  }

  /// Runs `body`, which only reads, on one view of the database, whoever writes meanwhile.
  template <class Body>
  void reading(Body&& body) const {
    const bool outermost = begin_reading();
    try {
      body();
    } catch (...) {
      end_reading(outermost);
      throw;
    }
    end_reading(outermost);
  }

 private:
  struct Impl;
  explicit Database(std::unique_ptr<Impl> impl);
  bool begin_reading() const;
  void end_reading(bool outermost) const;
  void begin();
  void commit();
  void rollback();
  std::unique_ptr<Impl> impl_;
};

/// $FLASHTUNE_DB, else $XDG_DATA_HOME/flashtune/tuning.db, else ~/.local/share/flashtune/tuning.db; nothing where none
/// is set; set but empty is not set. The environment is passed in: only the command line and the public Options read
/// it.
std::optional<std::filesystem::path> default_database_path(const char* flashtune_db, const char* xdg_data_home,
                                                           const char* home);

}  // namespace flashtune
