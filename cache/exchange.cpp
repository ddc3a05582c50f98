// Export, import and merge: the same rule for every record that meets one of its own key.
#include "cache/exchange.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "cache/codec.h"
#include "cache/foreign_json.h"
#include "cache/json.h"
#include "cache/plain_text.h"

namespace flashtune {
namespace {

constexpr const char* kFormat = "flashtune";
constexpr int kVersion = 1;  // of the JSON, which may stay when the tables change

/// A finished trial beats one in flight, whose end is not known; otherwise the newer one stays.
bool supersedes(const Trial& incoming, const Trial& present) {
  const bool ended = incoming.outcome != Outcome::kInFlight;
  if (ended != (present.outcome != Outcome::kInFlight)) return ended;
  return incoming.when > present.when;
}

void add(Database& db, const Trial& trial, ImportCount& count) {
  const std::optional<Trial> present = db.find(trial.key);
  if (present && !supersedes(trial, *present)) {
    ++count.trials_kept;
    return;
  }
  db.finish(trial);
  ++(present ? count.trials_replaced : count.trials_added);
}

/// A modelled answer and a measured one stand side by side.
void add(Database& db, const Best& best, ImportCount& count) {
  const std::optional<Best> present = db.find_best(best.device, best.problem, best.grade);
  if (present && best.when <= present->when) {
    ++count.bests_kept;
    return;
  }
  db.put_best(best);
  ++(present ? count.bests_replaced : count.bests_added);
}

/// Commits as it goes: a transaction ends after so long or so many records, and others get the lock in the pause before
/// the next one, in which they ask for it several times (sqlite.cpp).
class Batches {
 public:
  explicit Batches(Database& db) : db_(db) {}

  template <class Record>
  void add_all(const std::vector<Record>& records, ImportCount& count) {
    for (std::size_t next = 0; next < records.size();) {
      if (!first_) std::this_thread::sleep_for(kPause);
      first_ = false;
      const std::size_t begin = next;
      db_.transaction([&] {
        const auto end = std::chrono::steady_clock::now() + kLongest;
        for (std::size_t n = 0; n < kMost && next < records.size() && std::chrono::steady_clock::now() < end; ++n)
          add(db_, records[next++], count);
      });
      committed_ += next - begin;
    }
  }
  std::size_t committed() const { return committed_; }

 private:
  static constexpr std::size_t kMost = 2000;
  static constexpr std::chrono::milliseconds kLongest{50}, kPause{10};
  Database& db_;
  bool first_ = true;
  std::size_t committed_ = 0;
};

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::kIo, fmt::format("cannot import: {}; nothing was changed", why));
}

nlohmann::json parse(const std::string& text) {
  ParsedJson parsed = parse_foreign_json(text);
  if (!parsed.fault.empty()) refuse(parsed.fault);
  return std::move(parsed.value);
}

const nlohmann::json& array_of(const nlohmann::json& root, const char* key) {
  const auto found = root.find(key);
  if (found == root.end() || !found->is_array()) refuse(fmt::format("it has no array '{}'", key));
  return *found;
}

/// The records of one array, each judged.
template <class Record>
std::vector<Record> read_array(const nlohmann::json& root, const char* key,
                               Record (*read)(const nlohmann::json&, const std::string&), Unsound unsound,
                               Records& all) {
  std::vector<Record> records;
  int i = 0;
  const auto skip = [&](int& count, const char* why) {
    ++count;
    if (all.first_why.empty()) all.first_why = why;
  };
  for (const nlohmann::json& json : array_of(root, key)) {
    try {
      records.push_back(read(json, fmt::format("{}[{}]", key, i++)));
    } catch (const UnknownWord& word) {
      skip(all.skipped.newer, word.what());
    } catch (const Error& error) {
      if (unsound == Unsound::kRefuse) throw;
      skip(all.skipped.damaged, error.what());
    }
  }
  return records;
}

Records records_of(const nlohmann::json& root, Unsound unsound) {
  if (!root.is_object() || !root.contains("format") || root["format"] != kFormat)
    refuse(R"(it is not an export of flashtune: "format":"flashtune" is missing)");
  if (!root.contains("version") || root["version"] != kVersion)
    refuse(fmt::format(
        "its version is {}, and this flashtune reads version {}; export it again with a flashtune of this version",
        root.contains("version") ? shown(root["version"]) : "missing", kVersion));
  Records records;
  records.trials = read_array(root, "trials", trial_from_json, unsound, records);
  records.bests = read_array(root, "bests", best_from_json, unsound, records);
  return records;
}

}  // namespace

std::string export_json(const Database& db, const RecordFilter& filter, Exported what) {
  Json root;
  root["format"] = kFormat;
  root["version"] = kVersion;
  root["trials"] = Json::array();
  root["bests"] = Json::array();
  db.reading([&] {
    if (what == Exported::kAll)
      for (const Trial& trial : db.trials(filter)) root["trials"].push_back(trial_to_json(trial));
    for (const Best& best : db.bests(filter)) root["bests"].push_back(best_to_json(best));
  });
  // A compiler's message may hold bytes that are no UTF-8: they become the replacement character.
  std::string text = printable_json(root.dump(1, ' ', false, Json::error_handler_t::replace)) + "\n";
  if (text.size() > kMostExportBytes)
    throw Error(
        ErrorKind::kInvalidArgument,
        fmt::format("these records are {} MiB of text, and an import takes at most {} MiB; export a part of them "
                    "(--best, --arch, --op, ...), or take the database's file itself, which `db merge` reads",
                    text.size() >> 20, kMostExportBytes >> 20));
  return text;
}

Records records_of_export(const std::string& text, Unsound unsound) {
  const nlohmann::json root = parse(text);
  try {
    return records_of(root, unsound);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kIo) throw;
    refuse(fmt::format("{}; --skip-damaged takes in the others", e.what()));
  }
}

ImportCount take_in(Database& db, Records records) {
  ImportCount count;
  count.skipped = records.skipped;
  count.first_why = std::move(records.first_why);
  Batches batches(db);
  try {
    batches.add_all(records.trials, count);
    batches.add_all(records.bests, count);
  } catch (const Error& error) {
    throw Error(error.kind(),
                fmt::format("{}; {} of {} records had been taken in, and the same command goes on there", error.what(),
                            batches.committed(), records.trials.size() + records.bests.size()));
  }
  return count;
}

ImportCount import_json(Database& db, const std::string& text, Unsound unsound) {
  return take_in(db, records_of_export(text, unsound));
}

ImportCount merge(Database& into, const Database& from) {
  Records records;
  from.reading([&] {
    records.trials = from.trials();
    records.bests = from.bests();
  });
  records.skipped = from.skipped();
  return take_in(into, std::move(records));
}

}  // namespace flashtune
