// Records as JSON files: export, import, merge. Import and merge take the same records: those that a reader would take
// (record_fault.h).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cache/database.h"

namespace flashtune {

/// kBests: the answers without the trials behind them, which a program that only dispatches does not need.
enum class Exported { kAll, kBests };

/// The longest text that import takes, so the longest that export makes: about a million trials. Databases that hold
/// more merge().
constexpr std::size_t kMostExportBytes = std::size_t{2} << 30;

/// {"format":"flashtune","version":N,"trials":[...],"bests":[...]}: all at one moment. Rows that are no records are
/// left out; db.skipped() counts them. Throws Error(kInvalidArgument) for more records than an import would take.
std::string export_json(const Database& db, const RecordFilter& filter = {}, Exported what = Exported::kAll);

struct ImportCount {
  int trials_added = 0, trials_replaced = 0, trials_kept = 0;
  int bests_added = 0, bests_replaced = 0, bests_kept = 0;
  SkippedRows skipped;    // of what was to be taken in
  std::string first_why;  // of the first that was skipped, with its place
};

/// What import does about a record that is not sound.
enum class Unsound { kRefuse, kSkip };

/// Records to take in, each judged.
struct Records {
  std::vector<Trial> trials;
  std::vector<Best> bests;
  SkippedRows skipped;
  std::string first_why;
};

/// Those of an export. The whole text is judged: garbage, a truncated text, another version or (with kRefuse) a record
/// that is not sound throws Error(kIo) saying where and why. Records with words of a newer flashtune are skipped and
/// counted.
Records records_of_export(const std::string& text, Unsound unsound = Unsound::kRefuse);

/// Newer `when` wins on equal keys; a trial in flight never replaces a finished one, nor a modelled best a measured
/// one. The records are written in transactions of a tenth of a second at most, so that others write meanwhile. Where
/// one cannot be written or the process is killed, what was committed stays, and the same call goes on from there.
ImportCount take_in(Database& db, Records records);

/// Both: a text that is refused changes nothing.
ImportCount import_json(Database& db, const std::string& text, Unsound unsound = Unsound::kRefuse);

/// All records of another database file, by the same rule. Rows that are no records are skipped and counted.
ImportCount merge(Database& into, const Database& from);

}  // namespace flashtune
