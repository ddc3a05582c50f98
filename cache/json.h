// Records as JSON values, for exchange files and for every --format json. The only header that names nlohmann, and only
// forward.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cache/records.h"

namespace flashtune {

/// Keys stay in the order in which they were written.
using Json = nlohmann::ordered_json;

Json device_to_json(const DeviceKey& device);  // {"name":"NVIDIA H200","sm_count":132,"arch":90}
Json problem_to_json(
    const Problem& problem);  // {"op":"prefill","dtype":"bf16",...,"layout":"bshd"}; strides only when strided
Json candidate_to_json(const Candidate& candidate);  // {"family":"prefill_mma","config":{"br":128,...}}
Json trial_to_json(const Trial& trial);              // all but the id, which means something in one file only
Json best_to_json(const Best& best);

// Reading takes what parse_foreign_json() built. It is strict: a missing, misspelt or unknown key, a value of the wrong
// type or out of range, or a record that is not sound (record_fault.h) throws Error(kInvalidArgument) that starts with
// where it is
// ("trials[3].timing.median_us"); where all that is wrong is a word that newer ones may have, UnknownWord (codec.h).
// `where` names the value itself. Only the fields of a config may be left out; they then have their defaults.
DeviceKey device_from_json(const nlohmann::json& json, const std::string& where);
Problem problem_from_json(const nlohmann::json& json, const std::string& where);
Candidate candidate_from_json(const nlohmann::json& json, const std::string& where);
Trial trial_from_json(const nlohmann::json& json, const std::string& where);
Best best_from_json(const nlohmann::json& json, const std::string& where);

}  // namespace flashtune
