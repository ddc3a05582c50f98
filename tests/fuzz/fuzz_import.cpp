// JSON exports: what import accepts, export writes again, and import takes that for the same.
#include "cache/exchange.h"
#include "cache/foreign_json.h"
#include "tests/fuzz/fuzz.h"

namespace flashtune {
namespace {

using fuzz::require;

/// Levels of a value, without walking it by recursion.
std::size_t levels_of(const nlohmann::json& root) {
  std::vector<std::pair<const nlohmann::json*, std::size_t>> left = {{&root, 1}};
  std::size_t most = 0;
  while (!left.empty()) {
    const auto [json, level] = left.back();
    left.pop_back();
    if (!json->is_structured()) continue;
    most = std::max(most, level);
    for (const auto& member : *json) left.emplace_back(&member, level + 1);
  }
  return most;
}

void check_levels(const std::string& text) {
  const ParsedJson parsed = parse_foreign_json(text);
  if (!parsed.fault.empty()) fuzz::require_own_words(parsed.fault);
  const std::size_t levels = levels_of(parsed.value);
  require(levels <= kMostJsonLevels, "a value deeper than any may be");
  if (levels == 0) return;  // no value, or none that is in a list
  const std::string around(kMostJsonLevels + 1 - levels, '['), behind(around.size(), ']');
  require(!parse_foreign_json(around + text + behind).fault.empty(), "a value one level deeper than any may be");
}

void check(const std::string& text) {
  check_levels(text);
  static Database first = Database::in_memory(), second = Database::in_memory();
  fuzz::undone(first, [&] {
    if (!fuzz::accepts([&] { import_json(first, text); })) {
      require(first.trials().empty() && first.bests().empty(), "a refused import left records");
      return;
    }
    const std::string once = export_json(first);
    require(first.check().empty(), "an import made a database that is not sound");
    fuzz::undone(second, [&] {
      require(fuzz::accepts([&] { import_json(second, once); }), "an export is not accepted");
      require(export_json(second) == once, "an export of an export differs");
    });
  });
}

}  // namespace
}  // namespace flashtune

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  flashtune::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
