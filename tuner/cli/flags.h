// Texts of flags to values, and errors that name the flag, the value and what would be right.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/excerpt.h"

namespace flashtune {

[[noreturn]] inline void refuse(std::string_view flag, std::string_view value, std::string_view advice) {
  throw Error(ErrorKind::kInvalidArgument, fmt::format("{} {}: {}", flag, excerpt_of(value), advice));
}

/// The enumerator named `text`; otherwise an error that lists the names.
template <class Enum>
Enum enum_of_flag(std::string_view flag, std::string_view text) {
  if (const auto value = enum_from_name<Enum>(text)) return *value;
  refuse(flag, text, "supported: " + enum_names<Enum>());
}

/// A whole number that fits an int.
int int_of_flag(std::string_view flag, std::string_view text);

/// "90s", "10m", "1h" (or "1.5h"), in seconds.
double seconds_of_flag(std::string_view flag, std::string_view text);

/// A softmax scale that kernels can compute with.
float scale_of_flag(std::string_view flag, std::string_view text);

/// "a,b,c" in parts; an empty part is an error.
std::vector<std::string> parts_of_flag(std::string_view flag, std::string_view text);

/// 80 for "sm_80", one of those that can be modelled; otherwise an error that lists them.
int arch_of_flag(std::string_view flag, std::string_view text);

/// 80 for "sm_80", whichever number it is: records may come from GPUs that cannot be modelled.
int arch_number_of_flag(std::string_view flag, std::string_view text);

/// "2026-11-20" or "2026-11-20T08:30:00Z" (UTC), as records hold times: midnight where none is given.
std::string date_of_flag(std::string_view flag, std::string_view text);

}  // namespace flashtune
