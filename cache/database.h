// The tuning database: trials and best answers in one SQLite file. Every write is committed when the call returns, so
// that a process killed at any moment loses nothing it was told is stored. Thread-safe; a transaction holds other
// threads off. Several processes may share a file on a local disk; on a network file system give each its own and
// merge() them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/records.h"

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

class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  /// Opens, creating the file and its folders in kReadWrite. An older schema is migrated inside a transaction after a
  /// backup copy beside the file; a newer one, a file that is no database, and a folder that cannot be written throw
  /// Error(kIo) that says what to do. kReadOnly needs the file (Error(kNotFound)), creates nothing, opens it immutable
  /// in a folder that cannot be written, and reads an older schema through a migrated copy in memory.
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
  std::optional<Trial> find(const TrialKey& key) const;
  std::vector<Trial> trials(const RecordFilter& filter = {}) const;
  /// All trials of one problem on one device.
  std::vector<Trial> trials_of(const DeviceKey& device, const Problem& problem) const;

  // --- best answers, one per (device, problem bucket, grade); the newest replaces. Grades are measured and modelled,
  // so a modelled answer never replaces a measured one. Error(kInvalidArgument) for another grade.
  void put_best(const Best& best);
  std::vector<Best> bests(const RecordFilter& filter = {}) const;

  /// Deletes what the filter selects and reclaims the space; returns the number of rows. Refuses an empty filter
  /// (Error(kInvalidArgument)).
  std::int64_t prune(const RecordFilter& filter);

  DatabaseInfo info() const;
  /// SQLite's integrity check and our own (every text decodes, every key hashes to itself); one line per problem, none
  /// if sound.
  std::vector<std::string> check() const;

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

 private:
  struct Impl;
  explicit Database(std::unique_ptr<Impl> impl);
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
