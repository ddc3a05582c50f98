// Text of configs, candidates, problems and devices. A change of any text written here needs a new schema version,
// because trials are found by it.
#include "cache/codec.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <ctime>
#include <type_traits>
#include <utility>

#include "flashtune/shared/fields.h"

namespace flashtune {
namespace {

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorKind::kInvalidArgument, why); }

template <class Int>
Int whole_number(std::string_view what, std::string_view text) {
  Int value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) refuse(fmt::format("{} '{}' is too large", what, excerpt_of(text)));
  if (error != std::errc() || end != text.data() + text.size())
    refuse(fmt::format("{} '{}' is not a whole number", what, excerpt_of(text)));
  return value;
}

/// Cuts `text` at its first `separator`; what is left of the text stays in it.
std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t at = text.find(separator);
  const std::string_view head = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
  return head;
}

template <class Enum>
std::string_view token_of(Enum value) {
  const char* name = name_of(value);
  if (name == nullptr)
    throw Error(ErrorKind::kInternal,
                fmt::format("{} is no enumerator: legal are {}", static_cast<int>(value), enum_names<Enum>()));
  return name;
}

template <class Field>
std::string field_to_text(Field field) {
  if constexpr (std::is_enum_v<Field>)
    return std::string(token_of(field));
  else
    return std::to_string(field);
}

template <class Field>
Field field_from_text(std::string_view key, std::string_view text) {
  if constexpr (std::is_enum_v<Field>)
    return require_enum<Field>(fmt::format("value of '{}'", key), text);
  else
    return whole_number<Field>(fmt::format("value of '{}'", key), text);
}

template <class Config>
std::string keys_of(const Config& config) {
  std::string keys;
  visit_fields(config, [&](const char* key, const auto&) { keys += (keys.empty() ? "" : ", ") + std::string(key); });
  return keys;
}

/// What of a text only a newer flashtune could know. It is told once the rest is found to be whole.
class Unknown {
 public:
  void note(const std::string& why) {
    if (why_.empty()) why_ = why;
  }
  template <class Read>
  void note_word_of(Read&& read) {
    try {
      read();
    } catch (const UnknownWord& word) {
      note(word.what());
    }
  }
  bool any() const { return !why_.empty(); }
  const std::string& why() const { return why_; }
  void tell() const {
    if (any()) throw UnknownWord(why_);
  }

 private:
  std::string why_;
};

template <class Config>
Config parse_config(std::string_view text, Config config) {
  const std::string_view whole = text;
  std::string seen = ",", unknown_key;
  Unknown unknown;
  bool words = true;
  for (bool more = !text.empty(); more;) {
    more = text.find(',') != std::string_view::npos;  // so that a comma at the end is a key that is missing
    std::string_view value = take_until(text, ',');
    const bool has_value = value.find('=') != std::string_view::npos;
    const std::string_view key = take_until(value, '=');
    bool known = false;
    visit_fields(config, [&](const char* name, auto& field) {
      if (key != name) return;
      known = true;
      if (!has_value)
        refuse(fmt::format("config key '{}' has no value in '{}'; write {}=VALUE", key, excerpt_of(whole), key));
      unknown.note_word_of([&] { field = field_from_text<std::remove_reference_t<decltype(field)>>(key, value); });
    });
    if (!known && unknown_key.empty())
      unknown_key = fmt::format("unknown config key '{}' in '{}'; the keys are {}", excerpt_of(key), excerpt_of(whole),
                                keys_of(config));
    words &= known || (is_word(key) && has_value);
    const std::string mark = fmt::format(",{},", key);
    if (seen.find(mark) != std::string::npos)
      refuse(fmt::format("config key '{}' is given twice in '{}'", excerpt_of(key), excerpt_of(whole)));
    seen += mark;
  }
  if (!unknown_key.empty()) unknown.note(unknown_key);
  if (unknown.any()) {
    // A newer flashtune writes the keys that we know, too: where one is missing, another is misspelt.
    visit_fields(config, [&](const char* name, const auto&) {
      words &= seen.find(fmt::format(",{},", name)) != std::string::npos;
    });
    if (!words) refuse(unknown.why());
  }
  unknown.tell();
  return config;
}

/// Whether a text has the form of a config, of whatever keys.
bool is_config_text(std::string_view text) {
  for (bool more = true; more;) {
    more = text.find(',') != std::string_view::npos;
    std::string_view value = take_until(text, ',');
    if (value.find('=') == std::string_view::npos || !is_word(take_until(value, '='))) return false;
    const bool number = !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
    if (!number && !is_word(value)) return false;
  }
  return true;
}

template <std::size_t... I>
AnyConfig default_of(std::size_t index, std::index_sequence<I...>) {
  AnyConfig config;
  ((I == index ? void(config.emplace<I>()) : void()), ...);
  return config;
}

/// Takes the next word of a problem's text, which must start with `prefix`; returns what follows the prefix.
std::string_view word(std::string_view& rest, std::string_view prefix, std::string_view whole) {
  const std::string_view w = take_until(rest, ' ');
  if (w.size() <= prefix.size() || w.substr(0, prefix.size()) != prefix)
    refuse(fmt::format("problem '{}': expected {}{} where '{}' stands", excerpt_of(whole), prefix,
                       prefix.empty() ? "a word" : "N", excerpt_of(w)));
  return w.substr(prefix.size());
}

int size_word(std::string_view& rest, std::string_view prefix, std::string_view whole) {
  const std::string_view digits = word(rest, prefix, whole);
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc() && end == digits.data() + digits.size()) return value;
  return whole_number<int>(fmt::format("'{}' of problem '{}':", prefix, excerpt_of(whole)), digits);
}

Strides strides_word(std::string_view& rest, std::string_view prefix, std::string_view whole) {
  std::string_view numbers = word(rest, prefix, whole);
  const std::string what = fmt::format("stride '{}' of problem '{}':", prefix, excerpt_of(whole));
  Strides s;
  s.batch = whole_number<long long>(what, take_until(numbers, ','));
  s.head = whole_number<long long>(what, take_until(numbers, ','));
  s.row = whole_number<long long>(what, numbers);
  return s;
}

/// The next word of a text, left where it is.
std::string_view next_word(std::string_view rest) { return rest.substr(0, rest.find(' ')); }

/// The word of a field's value. An enumerator is its token, and whoever writes it must have one.
template <class T>
std::string text_of_field(const Field<T>& field, T value) {
  if constexpr (std::is_enum_v<T>)
    return std::string(token_of(value));
  else if constexpr (std::is_same_v<T, bool>)
    return value ? field.word : field.word_if_false;
  else
    return fmt::format("{}{}", field.word, value);
}

/// Takes a field's word. `unknown` gets what only a newer flashtune could mean.
template <class T>
void read_field(const Field<T>& field, T& value, std::string_view& rest, std::string_view whole, Unknown& unknown) {
  if constexpr (std::is_enum_v<T>) {
    unknown.note_word_of([&] { value = require_enum<T>(field.name, word(rest, "", whole)); });
  } else if constexpr (std::is_same_v<T, bool>) {
    const std::string_view text = word(rest, "", whole);
    value = text == field.word;
    if (value || text == field.word_if_false) return;
    const std::string why = fmt::format("problem '{}': expected {} or {} where '{}' stands", excerpt_of(whole),
                                        field.word_if_false, field.word, excerpt_of(text));
    if (!is_word(text)) refuse(why);
    unknown.note(why);
  } else {
    value = size_word(rest, field.word, whole);
  }
}

/// Whether the next word is that of a field which is left out where it holds its default.
template <class T>
bool comes_next(const Field<T>& field, std::string_view rest) {
  const std::string_view next = next_word(rest);
  return std::is_same_v<T, bool> ? next == field.word : next.starts_with(field.word);
}

/// `unknown` gets what only a newer flashtune could mean; the problem then holds something else there.
Problem read_problem(std::string_view text, Unknown& unknown) {
  std::string_view rest = text;
  Problem p;
  visit_problem(p, [&](const auto& field, auto& value) {
    if (field.written == Written::kAlways) read_field(field, value, rest, text, unknown);
  });
  Layout layout = Layout::kBshd;
  unknown.note_word_of([&] { layout = require_enum<Layout>("layout", word(rest, "", text)); });
  visit_problem(p, [&](const auto& field, auto& value) {
    if (field.written == Written::kUnlessDefault && comes_next(field, rest))
      read_field(field, value, rest, text, unknown);
  });
  const auto goes_on = [&] {
    return fmt::format("problem '{}' goes on after its end: '{}'", excerpt_of(text), excerpt_of(rest));
  };
  for (; is_word(next_word(rest)); take_until(rest, ' ')) unknown.note(goes_on());  // before strides
  if (layout == Layout::kStrided)
    visit_strides([&](const char* name, Strides& s) { s = strides_word(rest, fmt::format("{}:", name), text); }, p);
  else
    p = laid_out(p, layout);
  if (!rest.empty() || text.back() == ' ') refuse(goes_on());
  return p;
}

}  // namespace

bool is_word(std::string_view text) {
  constexpr std::size_t kLongest = 40;
  const auto small = [](char c) { return c >= 'a' && c <= 'z'; };
  if (text.empty() || text.size() > kLongest || !small(text.front())) return false;
  for (const char c : text)
    if (!small(c) && c != '_' && (c < '0' || c > '9')) return false;
  return true;
}

std::string config_to_text(const AnyConfig& any) {
  std::string text;
  const auto append = [&](const char* key, const auto& field) {
    if (!text.empty()) text += ',';
    text += fmt::format("{}={}", key, field_to_text(field));
  };
  std::visit([&](const auto& config) { visit_fields(config, append); }, any);
  return text;
}

AnyConfig config_from_text(std::string_view text, const AnyConfig& base) {
  return std::visit([&](const auto& config) { return AnyConfig(parse_config(text, config)); }, base);
}

AnyConfig default_constructed(Family family) {
  const auto index = static_cast<std::size_t>(family);
  if (index >= std::variant_size_v<AnyConfig>)
    throw Error(ErrorKind::kInternal, fmt::format("no family has the number {}", index));
  return default_of(index, std::make_index_sequence<std::variant_size_v<AnyConfig>>());
}

std::string candidate_to_text(const Candidate& candidate) {
  return fmt::format("{} {}", token_of(candidate.family()), config_to_text(candidate.config));
}

Candidate candidate_from_text(std::string_view text) {
  const std::string_view name = take_until(text, ' ');
  if (!enum_from_name<Family>(name) && !is_config_text(text))
    refuse(fmt::format("unknown family '{}', and '{}' is no config either", excerpt_of(name), excerpt_of(text)));
  return {config_from_text(text, default_constructed(require_enum<Family>("family", name)))};
}

std::string problem_to_text(const Problem& p) {
  std::string text;
  visit_problem(p, [&](const auto& field, const auto& value) {
    if (field.written == Written::kAlways) text += text_of_field(field, value) + ' ';
  });
  const Layout layout = layout_of(p);
  text += token_of(layout);
  text += optional_words(p);
  if (layout == Layout::kStrided)
    visit_strides(
        [&](const char* name, const Strides& s) { text += fmt::format(" {}:{},{},{}", name, s.batch, s.head, s.row); },
        p);
  return text;
}

std::string optional_words(const Problem& p) {
  std::string text;
  visit_problem(p, [&](const auto& field, const auto& value) {
    if (field.written == Written::kUnlessDefault && is_written(field, p)) text += ' ' + text_of_field(field, value);
  });
  return text;
}

Problem laid_out(const Problem& problem, Layout layout) {
  constexpr int kMostDims = 1 << 12;  // times kMostHeads and kMostKeys, the most that a stride can count
  const std::pair<int, int> sizes[] = {{problem.heads, kMostHeads},    {problem.kv_heads, kMostHeads},
                                       {problem.seq_q, kMostKeys},     {problem.seq_kv, kMostKeys},
                                       {problem.page_size, kMostKeys}, {problem.head_dim, kMostDims},
                                       {problem.head_dim_v, kMostDims}};
  for (const auto& [size, most] : sizes)
    if (size < 0 || size > most) return problem;
  return with_layout(problem, layout);
}

Problem problem_from_text(std::string_view text) {
  Unknown unknown;
  try {
    const Problem problem = read_problem(text, unknown);
    unknown.tell();
    return problem;
  } catch (const UnknownWord&) {
    throw;
  } catch (const Error&) {
    if (unknown.any()) refuse(unknown.why());  // which comes first, but the rest is not whole
    throw;
  }
}

std::string device_to_text(const DeviceKey& device) {
  return fmt::format("{}/{}/sm_{}", device.name, device.sm_count, device.arch);
}

DeviceKey device_from_text(std::string_view text) {
  // From the right, because a name may hold a slash.
  const std::size_t arch = text.rfind("/sm_");
  const std::size_t count =
      arch == std::string_view::npos || arch == 0 ? std::string_view::npos : text.rfind('/', arch - 1);
  if (count == std::string_view::npos)
    refuse(fmt::format("device '{}' is not of the form NAME/SM_COUNT/sm_ARCH", excerpt_of(text)));
  DeviceKey device;
  device.name = std::string(text.substr(0, count));
  device.sm_count = whole_number<int>(fmt::format("SM count of device '{}':", excerpt_of(text)),
                                      text.substr(count + 1, arch - count - 1));
  device.arch = whole_number<int>(fmt::format("architecture of device '{}':", excerpt_of(text)), text.substr(arch + 4));
  return device;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

bool is_utc_time(std::string_view text) {
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:ddZ";
  if (text.size() != kForm.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kForm[i] == 'd' ? !digit : text[i] != kForm[i]) return false;
  }
  return true;
}

}  // namespace flashtune
