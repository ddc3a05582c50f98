// Export, import and merge: the same rule for every record that meets one of its own key.
#include "cache/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "cache/codec.h"
#include "cache/json.h"
#include "cache/keys.h"

namespace flashtune {
namespace {

constexpr const char* kFormat = "flashtune";
constexpr int kVersion = 1;  // of the JSON, which may stay when the tables change

struct Records {
  std::vector<Trial> trials;
  std::vector<Best> bests;
};

/// A finished trial beats one in flight, whose end is not known; otherwise the newer one stays.
bool supersedes(const Trial& incoming, const Trial& present) {
  const bool ended = incoming.outcome != Outcome::kInFlight;
  if (ended != (present.outcome != Outcome::kInFlight)) return ended;
  return incoming.when > present.when;
}

void add_trial(Database& db, const Trial& trial, ImportCount& count) {
  const std::optional<Trial> present = db.find(trial.key);
  if (present && !supersedes(trial, *present)) {
    ++count.trials_kept;
    return;
  }
  db.finish(trial);
  ++(present ? count.trials_replaced : count.trials_added);
}

/// What put_best replaces by: a modelled answer and a measured one stand side by side.
std::string slot_of(const Best& best) {
  return fmt::format("{}\n{}\n{}", device_to_text(best.device), problem_to_text(bucket_of(best.problem)),
                     name_of(best.grade));
}

ImportCount add_all(Database& db, const Records& records) {
  ImportCount count;
  db.transaction([&] {
    for (const Trial& trial : records.trials) add_trial(db, trial, count);
    std::map<std::string, std::string> newest;
    for (const Best& best : db.bests()) newest.emplace(slot_of(best), best.when);
    for (const Best& best : records.bests) {
      const auto [present, added] = newest.emplace(slot_of(best), best.when);
      if (!added && best.when <= present->second) {
        ++count.bests_kept;
        continue;
      }
      db.put_best(best);
      present->second = best.when;
      ++(added ? count.bests_added : count.bests_replaced);
    }
  });
  return count;
}

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::kIo, fmt::format("cannot import: {}; nothing was changed", why));
}

Json parse(const std::string& text) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& e) {
    const std::size_t at = std::min(e.byte, text.size());
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    refuse(fmt::format("the text is not whole JSON: it goes wrong at byte {} (line {}) of {}", at, line, text.size()));
  } catch (const Json::exception& e) {  // a number that no double holds
    refuse(e.what());
  }
}

const Json& array_of(const Json& root, const char* key) {
  const auto found = root.find(key);
  if (found == root.end() || !found->is_array()) refuse(fmt::format("it has no array '{}'", key));
  return *found;
}

Records records_of(const Json& root) {
  if (!root.is_object() || !root.contains("format") || root["format"] != kFormat)
    refuse(R"(it is not an export of flashtune: "format":"flashtune" is missing)");
  if (!root.contains("version") || root["version"] != kVersion)
    refuse(fmt::format(
        "its version is {}, and this flashtune reads version {}; export it again with a flashtune of this version",
        root.contains("version") ? root["version"].dump() : "missing", kVersion));
  Records records;
  int i = 0;
  for (const Json& trial : array_of(root, "trials"))
    records.trials.push_back(trial_from_json(trial, fmt::format("trials[{}]", i++)));
  i = 0;
  for (const Json& best : array_of(root, "bests"))
    records.bests.push_back(best_from_json(best, fmt::format("bests[{}]", i++)));
  return records;
}

}  // namespace

std::string export_json(const Database& db, const RecordFilter& filter, Exported what) {
  Json root;
  root["format"] = kFormat;
  root["version"] = kVersion;
  root["trials"] = Json::array();
  root["bests"] = Json::array();
  if (what == Exported::kAll)
    for (const Trial& trial : db.trials(filter)) root["trials"].push_back(trial_to_json(trial));
  for (const Best& best : db.bests(filter)) root["bests"].push_back(best_to_json(best));
  // A compiler's message may hold bytes that are no UTF-8: they become the replacement character.
  return root.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

ImportCount import_json(Database& db, const std::string& text) {
  const Json root = parse(text);
  Records records;
  try {
    records = records_of(root);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kIo) throw;
    refuse(e.what());
  }
  return add_all(db, records);
}

ImportCount merge(Database& into, const Database& from) { return add_all(into, {from.trials(), from.bests()}); }

}  // namespace flashtune
