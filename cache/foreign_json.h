// JSON that strangers wrote: the one place where it is read, within limits, and how a message shows a value of it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace flashtune {

/// Nothing that flashtune reads nests more than seven levels deep. What may nest without end overflows the stack of
/// everything that walks it.
constexpr std::size_t kMostJsonLevels = 64;

/// A text's value, or why it has none: "it is not whole JSON: it goes wrong at byte 17 (line 2) of 40".
struct ParsedJson {
  nlohmann::json value;
  std::string fault;  // empty where there is a value
};

/// Strict: one value and nothing behind it, UTF-8, no key twice in an object, no number that no double holds, and at
/// most kMostJsonLevels levels. The limits are judged while reading, so that nothing deep is ever built.
ParsedJson parse_foreign_json(std::string_view text);

/// A value as a message shows it: numbers and words as they are, texts quoted and cut, "an object", "a list of 3".
std::string shown(const nlohmann::json& json);

}  // namespace flashtune
