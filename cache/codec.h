// Values to text and back: configs ("br=128,bc=64,..."), candidates, problems ("prefill bf16 b4 h32 ..."), devices,
// enums.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cache/error.h"
#include "cache/excerpt.h"
#include "cache/records.h"

namespace flashtune {

/// A text that is whole but for a word that this flashtune does not know, where newer ones may have one more: a family,
/// a config key, an enumerator, a word behind a problem. To know only whether a text can be read, catch Error.
struct UnknownWord : Error {
  explicit UnknownWord(const std::string& what) : Error(ErrorKind::kInvalidArgument, what) {}
};

/// Whether a text has the form of the words of this project: "prefill_mma", "tf32x3".
bool is_word(std::string_view text);

/// "br=128,bc=64,warps=4,...", every field, in the order of the struct.
std::string config_to_text(const AnyConfig& config);

/// Fields that are left out keep the value they have in `base`. Throws Error(kInvalidArgument) that names the misspelt
/// key and lists the right ones, or the value that is no number or enumerator of its field: UnknownWord when every key
/// is there, as flashtune writes them, and others beside them.
AnyConfig config_from_text(std::string_view text, const AnyConfig& base);

/// The config of a family with every field at its default.
AnyConfig default_constructed(Family family);

/// "prefill_mma br=128,bc=64,...".
std::string candidate_to_text(const Candidate& candidate);
Candidate candidate_from_text(std::string_view text);

/// "prefill bf16 b4 h32 kv32 q4096 k4096 d128 dv128 causal w0 bshd"; problems with pages append "page64", strided ones
/// their strides. Reading judges the form alone; fault_of() says whether the problem can be computed.
std::string problem_to_text(const Problem& problem);
Problem problem_from_text(std::string_view text);

/// Of that text the words of fields that are left out at their defaults, each behind a space: " page64 tf32".
std::string optional_words(const Problem& problem);

/// with_layout() for sizes that nobody has judged: where strides would overflow, the problem stays as it is.
Problem laid_out(const Problem& problem, Layout layout);

std::string device_to_text(const DeviceKey& device);  // "NVIDIA H200/132/sm_90"
DeviceKey device_from_text(std::string_view text);

/// Now, as records hold it: "2026-11-20T23:59:59Z".
std::string utc_now();
/// Whether `text` has the form that utc_now() writes (so that texts sort as times do).
bool is_utc_time(std::string_view text);

/// Generic over every enum that has name_of: its token's value, or nothing.
template <class Enum>
std::optional<Enum> enum_from_name(std::string_view name) {
  for (int i = 0; name_of(static_cast<Enum>(i)) != nullptr; ++i)
    if (name == name_of(static_cast<Enum>(i))) return static_cast<Enum>(i);
  return std::nullopt;
}

/// Every token of an enum, for help and errors: "fp16, bf16".
template <class Enum>
std::string enum_names() {
  std::string names;
  for (int i = 0; name_of(static_cast<Enum>(i)) != nullptr; ++i)
    names += (i == 0 ? "" : ", ") + std::string(name_of(static_cast<Enum>(i)));
  return names;
}

/// enum_from_name, or Error(kInvalidArgument): "unknown dtype 'fp8'; it is one of fp16, bf16". UnknownWord where the
/// name could be one of a newer flashtune.
template <class Enum>
Enum require_enum(std::string_view what, std::string_view name) {
  if (const std::optional<Enum> value = enum_from_name<Enum>(name)) return *value;
  const std::string why =
      "unknown " + std::string(what) + " '" + excerpt_of(name) + "'; it is one of " + enum_names<Enum>();
  if (is_word(name)) throw UnknownWord(why);
  throw Error(ErrorKind::kInvalidArgument, why);
}

}  // namespace flashtune
