// Records to JSON and, strictly, back.
#include "cache/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

#include "cache/codec.h"
#include "cache/excerpt.h"
#include "cache/foreign_json.h"
#include "cache/record_fault.h"
#include "flashtune/shared/fields.h"

namespace flashtune {
namespace {

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(ErrorKind::kInvalidArgument, fmt::format("{}: {}", where, why));
}

/// The same of a word, which may be one of a newer flashtune.
[[noreturn]] void refuse_word(const std::string& where, const std::string& word, const std::string& why) {
  if (is_word(word)) throw UnknownWord(fmt::format("{}: {}", where, why));
  refuse(where, why);
}

using Read = nlohmann::json;  // what is read; what is written keeps its order (Json)

/// One JSON object being read: every key is asked for once, and done() refuses the rest.
class Object {
 public:
  Object(const Read& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) refuse(where_, fmt::format("expected an object, found {}", json.type_name()));
  }

  std::string path(const char* key) const { return fmt::format("{}.{}", where_, key); }
  const std::string& where() const { return where_; }
  bool has(const char* key) const { return json_.contains(key); }

  const Read& at(const char* key) {
    asked_.insert(key);
    const auto found = json_.find(key);
    if (found == json_.end()) refuse(where_, fmt::format("'{}' is missing", key));
    return *found;
  }

  void read(const char* key, std::string& field) {
    const Read& value = at(key);
    if (!value.is_string()) refuse(path(key), fmt::format("expected a text, found {}", value.type_name()));
    field = value.get<std::string>();
  }
  void read(const char* key, bool& field) {
    const Read& value = at(key);
    if (!value.is_boolean()) refuse(path(key), fmt::format("expected true or false, found {}", value.type_name()));
    field = value.get<bool>();
  }
  void read(const char* key, int& field) { field = static_cast<int>(whole(key, std::numeric_limits<int>::max())); }
  void read(const char* key, long long& field) { field = whole(key, std::numeric_limits<long long>::max()); }
  void read(const char* key, double& field) {
    const Read& value = at(key);
    if (!value.is_number()) refuse(path(key), fmt::format("expected a number, found {}", value.type_name()));
    field = value.get<double>();
  }
  template <class Enum>
  requires std::is_enum_v<Enum>
  void read(const char* key, Enum& field) {
    std::string token;
    read(key, token);
    const std::optional<Enum> value = enum_from_name<Enum>(token);
    if (value)
      field = *value;
    else
      refuse_word(path(key), token, fmt::format("'{}' is not one of {}", excerpt_of(token), enum_names<Enum>()));
  }

  void done() const {
    for (const auto& item : json_.items())
      if (asked_.count(item.key()) == 0) refuse(where_, unknown_key(item.key()));
  }
  /// The same for an object in which newer ones may have more keys than we, beside all of ours.
  void done_but_for_words() const {
    const bool has_ours = std::all_of(asked_.begin(), asked_.end(), [&](const auto& key) { return has(key.c_str()); });
    for (const auto& item : json_.items()) {
      if (asked_.count(item.key()) != 0) continue;
      if (!has_ours) refuse(where_, unknown_key(item.key()));
      refuse_word(where_, item.key(), unknown_key(item.key()));
    }
  }
  /// Asks for a key that may be missing.
  bool offers(const char* key) {
    asked_.insert(key);
    return has(key);
  }

 private:
  static std::string unknown_key(const std::string& key) { return fmt::format("unknown key '{}'", excerpt_of(key)); }

  /// Every whole number in a record counts something: none is negative.
  long long whole(const char* key, long long most) {
    const Read& value = at(key);
    if (!value.is_number_integer()) refuse(path(key), fmt::format("expected a whole number, found {}", shown(value)));
    const bool fits = value.is_number_unsigned()
                          ? value.get<unsigned long long>() <= static_cast<unsigned long long>(most)
                          : value.get<long long>() >= 0 && value.get<long long>() <= most;
    if (!fits) refuse(path(key), fmt::format("{} is not between 0 and {}", shown(value), most));
    return value.get<long long>();
  }

  const Read& json_;
  std::string where_;
  std::set<std::string> asked_;
};

// --- members by name, for both directions

template <class Strides_, class F>
void visit_distances(Strides_& s, F&& f) {
  f("batch", s.batch);
  f("head", s.head);
  f("row", s.row);
}

template <class Facts, class F>
void visit_facts(Facts& facts, F&& f) {
  f("registers", facts.registers);
  f("spill_bytes", facts.spill_bytes);
  f("stack_bytes", facts.stack_bytes);
  f("smem_static", facts.smem_static);
  f("max_threads", facts.max_threads);
}

template <class Times, class F>
void visit_timing(Times& t, F&& f) {
  f("median_us", t.median_us);
  f("spread_us", t.spread_us);
  f("warm_us", t.warm_us);
  f("samples", t.samples);
  f("sm_clock_mhz", t.sm_clock_mhz);
}

template <class Device, class F>
void visit_device(Device& d, F&& f) {
  f("name", d.name);
  f("sm_count", d.sm_count);
  f("arch", d.arch);
}

template <class Record, class F>
void visit_evidence(Record& r, F&& f) {
  f("driver", r.driver);
  f("compiler", r.compiler);
  f("when", r.when);
}

/// A visitor that writes members into `json`.
auto writer_to(Json& json) {
  return [&json](const char* key, const auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::is_enum_v<Field>)
      json[key] = name_of(field);
    else
      json[key] = field;
  };
}

/// A visitor that reads members from `object`.
auto reader_of(Object& object) {
  return [&object](const char* key, auto& field) { object.read(key, field); };
}

template <class Record, class Visit>
Json members_of(const Record& record, Visit visit) {
  Json json = Json::object();
  visit(record, writer_to(json));
  return json;
}

Json strides_to_json(const Strides& s) {
  return members_of(s, [](const auto& r, auto&& f) { visit_distances(r, f); });
}

Json timing_to_json(const Timing& timing) {
  return members_of(timing, [](const auto& r, auto&& f) { visit_timing(r, f); });
}

Timing timing_from_json(const Read& json, const std::string& where) {
  Timing timing;
  Object object(json, where);
  visit_timing(timing, reader_of(object));
  object.done();
  return timing;
}

KernelFacts facts_from_json(const Read& json, const std::string& where) {
  KernelFacts facts;
  Object object(json, where);
  visit_facts(facts, reader_of(object));
  object.done();
  return facts;
}

Strides strides_from_json(const Read& json, const std::string& where) {
  Strides strides;
  Object object(json, where);
  visit_distances(strides, reader_of(object));
  object.done();
  return strides;
}

/// What the record's own rules say (record_fault.h).
template <class Record>
Record sound(Record record, const std::string& where) {
  if (const auto fault = fault_of(record))
    refuse(fault->field.empty() ? where : fmt::format("{}.{}", where, fault->field), fault->why);
  return record;
}

}  // namespace

Json device_to_json(const DeviceKey& device) {
  return members_of(device, [](const auto& r, auto&& f) { visit_device(r, f); });
}

Json problem_to_json(const Problem& problem) {
  Json json = Json::object();
  visit_problem(problem, [&](const auto& field, const auto& value) {
    if (is_written(field, problem)) writer_to(json)(field.name, value);
  });
  const Layout layout = layout_of(problem);
  json["layout"] = name_of(layout);
  if (layout == Layout::kStrided)
    visit_strides([&](const char* key, const Strides& s) { json["strides"][key] = strides_to_json(s); }, problem);
  return json;
}

Json candidate_to_json(const Candidate& candidate) {
  Json config = Json::object();
  std::visit([&](const auto& c) { visit_fields(c, writer_to(config)); }, candidate.config);
  return {{"family", name_of(candidate.family())}, {"config", config}};
}

Json trial_to_json(const Trial& trial) {
  Json json;
  json["device"] = device_to_json(trial.key.device);
  json["candidate"] = candidate_to_json(trial.key.candidate);
  json["problem"] = problem_to_json(trial.key.problem);
  json["cubin_digest"] = trial.key.cubin_digest;
  json["policy"] = trial.key.policy;
  json["outcome"] = name_of(trial.outcome);
  json["detail"] = trial.detail;
  json["attempts"] = trial.attempts;
  json["facts"] = members_of(trial.facts, [](const auto& r, auto&& f) { visit_facts(r, f); });
  json["timing"] = timing_to_json(trial.timing);
  visit_evidence(trial, writer_to(json));
  return json;
}

Json best_to_json(const Best& best) {
  Json json;
  json["device"] = device_to_json(best.device);
  json["problem"] = problem_to_json(best.problem);
  json["candidate"] = candidate_to_json(best.candidate);
  json["grade"] = name_of(best.grade);
  json["timing"] = timing_to_json(best.timing);
  json["default_us"] = best.default_us;
  json["cubin_digest"] = best.cubin_digest;
  json["policy"] = best.policy;
  visit_evidence(best, writer_to(json));
  return json;
}

DeviceKey device_from_json(const Read& json, const std::string& where) {
  DeviceKey device;
  Object object(json, where);
  visit_device(device, reader_of(object));
  object.done();
  return device;
}

Problem problem_from_json(const Read& json, const std::string& where) {
  Problem problem;
  Object object(json, where);
  visit_problem(problem, [&](const auto& field, auto& value) {
    if (field.written == Written::kAlways || object.has(field.name)) object.read(field.name, value);
  });
  Layout layout = Layout::kBshd;
  object.read("layout", layout);
  if (layout == Layout::kStrided) {
    Object strides(object.at("strides"), object.path("strides"));
    visit_strides([&](const char* key, Strides& s) { s = strides_from_json(strides.at(key), strides.path(key)); },
                  problem);
    strides.done();
  } else {
    problem = laid_out(problem, layout);
  }
  if (const ProblemFault fault = fault_of(problem); fault != ProblemFault::kNone) refuse(where, text_of(fault));
  object.done_but_for_words();
  return problem;
}

Candidate candidate_from_json(const Read& json, const std::string& where) {
  Object object(json, where);
  Family family{};
  object.read("family", family);
  Object fields(object.at("config"), object.path("config"));
  object.done();
  Candidate candidate{default_constructed(family)};
  const auto read = [&](const char* key, auto& field) {
    if (fields.offers(key)) fields.read(key, field);
  };
  std::visit([&](auto& config) { visit_fields(config, read); }, candidate.config);
  fields.done_but_for_words();
  return candidate;
}

Trial trial_from_json(const Read& json, const std::string& where) {
  Object object(json, where);
  Trial trial;
  trial.key.device = device_from_json(object.at("device"), object.path("device"));
  trial.key.candidate = candidate_from_json(object.at("candidate"), object.path("candidate"));
  trial.key.problem = problem_from_json(object.at("problem"), object.path("problem"));
  object.read("cubin_digest", trial.key.cubin_digest);
  object.read("policy", trial.key.policy);
  object.read("outcome", trial.outcome);
  object.read("detail", trial.detail);
  object.read("attempts", trial.attempts);
  trial.facts = facts_from_json(object.at("facts"), object.path("facts"));
  trial.timing = timing_from_json(object.at("timing"), object.path("timing"));
  visit_evidence(trial, reader_of(object));
  object.done();
  return sound(std::move(trial), where);
}

Best best_from_json(const Read& json, const std::string& where) {
  Object object(json, where);
  Best best;
  best.device = device_from_json(object.at("device"), object.path("device"));
  best.problem = problem_from_json(object.at("problem"), object.path("problem"));
  best.candidate = candidate_from_json(object.at("candidate"), object.path("candidate"));
  object.read("grade", best.grade);
  best.timing = timing_from_json(object.at("timing"), object.path("timing"));
  object.read("default_us", best.default_us);
  object.read("cubin_digest", best.cubin_digest);
  object.read("policy", best.policy);
  visit_evidence(best, reader_of(object));
  object.done();
  return sound(std::move(best), where);
}

}  // namespace flashtune
