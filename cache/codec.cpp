// Text of configs, candidates, problems and devices. A change of any text written here needs a new schema version,
// because trials are found by it.
#include "cache/codec.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <ctime>
#include <type_traits>
#include <utility>

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

/// `unknown` gets what only a newer flashtune could mean; the problem then holds something else there.
Problem read_problem(std::string_view text, Unknown& unknown) {
  std::string_view rest = text;
  Problem p;
  unknown.note_word_of([&] { p.op = require_enum<Op>("op", word(rest, "", text)); });
  unknown.note_word_of([&] { p.dtype = require_enum<Dtype>("dtype", word(rest, "", text)); });
  p.batch = size_word(rest, "b", text);
  p.heads = size_word(rest, "h", text);
  p.kv_heads = size_word(rest, "kv", text);
  p.seq_q = size_word(rest, "q", text);
  p.seq_kv = size_word(rest, "k", text);
  p.head_dim = size_word(rest, "d", text);
  p.head_dim_v = size_word(rest, "dv", text);
  const std::string_view mask = word(rest, "", text);
  if (mask != "causal" && mask != "full") {
    const std::string why =
        fmt::format("problem '{}': unknown mask '{}'; it is one of full, causal", excerpt_of(text), excerpt_of(mask));
    if (!is_word(mask)) refuse(why);
    unknown.note(why);
  }
  p.causal = mask == "causal";
  p.window = size_word(rest, "w", text);
  Layout layout = Layout::kBshd;
  unknown.note_word_of([&] { layout = require_enum<Layout>("layout", word(rest, "", text)); });
  if (rest.substr(0, 4) == "page") p.page_size = size_word(rest, "page", text);
  if (rest.substr(0, 4) == "tf32")
    unknown.note_word_of([&] { p.precision = require_enum<Precision>("precision", word(rest, "", text)); });
  const auto goes_on = [&] {
    return fmt::format("problem '{}' goes on after its end: '{}'", excerpt_of(text), excerpt_of(rest));
  };
  for (; is_word(rest.substr(0, rest.find(' '))); take_until(rest, ' ')) unknown.note(goes_on());  // before strides
  if (layout == Layout::kStrided) {
    p.q = strides_word(rest, "q:", text);
    p.k = strides_word(rest, "k:", text);
    p.v = strides_word(rest, "v:", text);
    p.o = strides_word(rest, "o:", text);
  } else {
    p = laid_out(p, layout);
  }
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
  const Layout layout = layout_of(p);
  std::string text = fmt::format("{} {} b{} h{} kv{} q{} k{} d{} dv{} {} w{} {}", token_of(p.op), token_of(p.dtype),
                                 p.batch, p.heads, p.kv_heads, p.seq_q, p.seq_kv, p.head_dim, p.head_dim_v,
                                 p.causal ? "causal" : "full", p.window, token_of(layout));
  if (p.page_size != 0) text += fmt::format(" page{}", p.page_size);
  if (p.precision != Precision::kIeee) text += fmt::format(" {}", token_of(p.precision));
  if (layout != Layout::kStrided) return text;
  const std::pair<char, const Strides*> tensors[] = {{'q', &p.q}, {'k', &p.k}, {'v', &p.v}, {'o', &p.o}};
  for (const auto& [name, s] : tensors) text += fmt::format(" {}:{},{},{}", name, s->batch, s->head, s->row);
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
