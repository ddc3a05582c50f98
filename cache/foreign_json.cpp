// Builds JSON values from the parser's events: only there is it known how deep a text goes before that is built.
#include "cache/foreign_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cache/excerpt.h"

namespace flashtune {
namespace {

using Json = nlohmann::json;

/// Receives the parser's events. An event that returns false ends the parse.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(std::string_view text) : text_(text) {}

  Json value;
  std::string fault;

  bool null() override { return put(Json()); }
  bool boolean(bool word) override { return put(Json(word)); }
  bool number_integer(Json::number_integer_t number) override { return put(Json(number)); }
  bool number_unsigned(Json::number_unsigned_t number) override { return put(Json(number)); }
  bool number_float(Json::number_float_t number, const std::string&) override { return put(Json(number)); }
  bool string(std::string& text) override { return put(Json(std::move(text))); }
  bool binary(Json::binary_t&) override { return fail("it holds bytes that JSON has no form for"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    Level& level = levels_.back();
    level.name = name;
    const auto [member, added] = level.json->get_ref<Json::object_t&>().emplace(std::move(name), nullptr);
    level.next = &member->second;
    return added || fail(fmt::format("it says '{}' twice", path()));
  }

  bool parse_error(std::size_t position, const std::string& token, const nlohmann::detail::exception& error) override {
    constexpr int kNumberOutOfRange = 406;
    if (error.id == kNumberOutOfRange) return fail(fmt::format("the number {} is too large", excerpt_of(token)));
    const std::size_t at = std::min(position, text_.size());
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    return fail(fmt::format("it is not whole JSON: it goes wrong at byte {} (line {}) of {}", at, line, text_.size()));
  }

 private:
  /// An object or a list that has not ended. It cannot move: what holds it gets nothing more until it ends.
  struct Level {
    Json* json = nullptr;
    std::string name;      // of the latest member, in an object
    Json* next = nullptr;  // where that member's value goes
  };

  bool put(Json json) {
    place(std::move(json));
    return true;
  }

  Json* place(Json json) {
    if (levels_.empty()) return &(value = std::move(json));
    Level& level = levels_.back();
    if (level.json->is_object()) return &(*level.next = std::move(json));
    level.json->push_back(std::move(json));
    return &level.json->back();
  }

  bool open(Json json) {
    if (levels_.size() == kMostJsonLevels)
      return fail(fmt::format("it nests more than {} levels deep, at '{}'", kMostJsonLevels, path()));
    levels_.push_back({place(std::move(json)), {}, nullptr});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  bool fail(std::string why) {
    fault = std::move(why);
    return false;
  }

  /// Where the parser stands: "trials[3].timing".
  std::string path() const {
    constexpr std::size_t kMostShown = 8;
    std::string text;
    for (std::size_t i = 0; i < std::min(levels_.size(), kMostShown); ++i) {
      const Level& level = levels_[i];
      if (level.json->is_array())
        text += fmt::format("[{}]", level.json->empty() ? 0 : level.json->size() - 1);
      else
        text.append(i == 0 ? "" : ".").append(excerpt_of(level.name));
    }
    return excerpt_of(text) + (levels_.size() > kMostShown ? "..." : "");
  }

  std::string_view text_;
  std::vector<Level> levels_;
};

}  // namespace

ParsedJson parse_foreign_json(std::string_view text) {
  Builder builder(text);
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return {std::move(builder.value), ""};
  return {Json(), std::move(builder.fault)};
}

std::string shown(const nlohmann::json& json) {
  if (json.is_object()) return "an object";
  if (json.is_array()) return fmt::format("a list of {}", json.size());
  if (json.is_string()) return fmt::format("\"{}\"", excerpt_of(json.get_ref<const std::string&>()));
  return json.dump();
}

}  // namespace flashtune
