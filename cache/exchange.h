// Records as JSON files: export, import, merge. Importing is all or nothing.
#pragma once

#include <filesystem>
#include <string>

#include "cache/database.h"

namespace flashtune {

/// kBests: the answers without the trials behind them, which nobody needs who only dispatches.
enum class Exported { kAll, kBests };

/// {"format":"flashtune","version":N,"trials":[...],"bests":[...]}
std::string export_json(const Database& db, const RecordFilter& filter = {}, Exported what = Exported::kAll);

struct ImportCount {
  int trials_added = 0, trials_replaced = 0, trials_kept = 0;
  int bests_added = 0, bests_replaced = 0, bests_kept = 0;
};

/// Newer `when` wins on equal keys; a trial in flight never replaces a finished one, nor a modelled best a measured
/// one. Garbage, a truncated text or another version throws Error(kIo) saying where and why, and changes nothing.
ImportCount import_json(Database& db, const std::string& text);

/// All records of another database file, by the same rule.
ImportCount merge(Database& into, const Database& from);

}  // namespace flashtune
