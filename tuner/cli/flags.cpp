// Judges the texts of flags.
#include "tuner/cli/flags.h"

#include <algorithm>
#include <charconv>

#include "runtime/launch/softmax_scale.h"
#include "tuner/model/cost_model.h"

namespace flashtune {

int int_of_flag(std::string_view flag, std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) refuse(flag, text, "too large; at most 2147483647");
  if (error != std::errc() || end != text.data() + text.size()) refuse(flag, text, "not a whole number");
  return value;
}

double seconds_of_flag(std::string_view flag, std::string_view text) {
  const std::string_view digits = text.substr(0, text.empty() ? 0 : text.size() - 1);
  const double unit = text.ends_with('s') ? 1 : text.ends_with('m') ? 60 : text.ends_with('h') ? 3600 : 0;
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (unit == 0 || error != std::errc() || end != digits.data() + digits.size() || !(value > 0) || value > 1e6)
    refuse(flag, text, "not a time; write for example 90s, 10m or 1h");
  return value * unit;
}

float scale_of_flag(std::string_view flag, std::string_view text) {
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range && end == text.data() + text.size())
    refuse(flag, text, "fp32 does not hold it; write 0 or a magnitude from 1.4e-45 to 2.3586e38");
  if (error != std::errc() || end != text.data() + text.size()) refuse(flag, text, "not a number");
  try {
    (void)kernel_scale(value);
  } catch (const Error& fault) {
    refuse(flag, text, fault.what());
  }
  return value;
}

std::vector<std::string> parts_of_flag(std::string_view flag, std::string_view text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    if (parts.back().empty()) refuse(flag, text, "an entry of the list is empty");
    begin = end + 1;
  }
  return parts;
}

int arch_number_of_flag(std::string_view flag, std::string_view text) {
  int arch = 0;
  const std::string_view digits = text.starts_with("sm_") ? text.substr(3) : "";
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), arch);
  if (error != std::errc() || end != digits.data() + digits.size() || arch < 1)
    refuse(flag, text, "not an architecture; write for example sm_90");
  return arch;
}

int arch_of_flag(std::string_view flag, std::string_view text) {
  const std::vector<int> known = reference_architectures();
  for (int arch : known)
    if (text == fmt::format("sm_{}", arch)) return arch;
  refuse(flag, text, fmt::format("unknown architecture; known: sm_{}", fmt::join(known, ", sm_")));
}

std::string date_of_flag(std::string_view flag, std::string_view text) {
  std::string date = std::string(text) + (text.size() == 10 ? "T00:00:00Z" : "");
  if (!is_utc_time(date)) refuse(flag, text, "not a date; write for example 2026-11-20 or 2026-11-20T08:30:00Z (UTC)");
  return date;
}

}  // namespace flashtune
