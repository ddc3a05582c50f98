// Reads the rungs, and looks for the legal config next to a preset's.
#include "tuner/space/presets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cache/codec.h"
#include "runtime/dispatch/fp32_copies.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {

extern const char kLadderJson[];  // cmake/EmbedFile.cmake

constexpr const char* name_of(Rung::Kind kind) {
  return kind == Rung::Kind::kUnfused  ? "unfused"
         : kind == Rung::Kind::kPreset ? "preset"
         : kind == Rung::Kind::kTuned  ? "tuned"
                                       : nullptr;
}
constexpr const char* name_of(SquareTile::Threads threads) {
  return threads == SquareTile::Threads::kOnePerRow    ? "one_per_row"
         : threads == SquareTile::Threads::kWarpPerRow ? "warp_per_row"
                                                       : nullptr;
}

namespace {

constexpr const char* kSixteenBits = "16bit";

Rung rung_from_json(const nlohmann::json& json) {
  Rung rung;
  rung.name = json.at("name"), rung.what = json.at("what");
  rung.kind = require_enum<Rung::Kind>("kind of rung", json.at("kind").get<std::string>());
  rung.sixteen_bits = json.at("dtype") == kSixteenBits;
  if (!rung.sixteen_bits)
    rung.precision = require_enum<Precision>("precision", json.at("precision").get<std::string>());
  if (rung.kind == Rung::Kind::kPreset) rung.candidate = candidate_from_text(json.at("config").get<std::string>());
  if (const auto tile = json.find("tile"); tile != json.end())
    rung.tile = {tile->at("kib"), tile->at("most"),
                 require_enum<SquareTile::Threads>("number of threads", tile->at("threads").get<std::string>())};
  return rung;
}

/// Whether a config has tiles and warps of its own to move; those of wgmma and decode are no presets.
template <class Config>
constexpr bool kHasTile = requires(Config& c) {
  c.br, c.bc, c.warps;
};

template <class Config>
void take_square_tile(Config& config, const SquareTile& tile, int head_dim) {
  const auto floats = [&](int t) { return 3ll * t * head_dim + 1ll * t * t; };
  int t = 1;
  while (t < tile.most && floats(t + 1) * 4 <= tile.kib * 1024ll) ++t;
  config.br = config.bc = t;
  config.warps = tile.threads == SquareTile::Threads::kWarpPerRow ? t : (t + 31) / 32;
}

double apart(int a, int b) { return std::abs(std::log2(1.0 * a / b)); }

/// `config` where it is legal with as many blocks per SM as it has, or with fewer: they share out registers, and are
/// not part of what a preset stands for.
template <class Config>
std::optional<Config> legal(Config config, const Problem& problem, const ArchLimits& limits) {
  for (; config.blocks_per_sm >= 1; --config.blocks_per_sm)
    if (rejection_of({config}, problem, limits) == Rejection::kNone) return config;
  return std::nullopt;
}

/// The nearest legal config by the factors of its tile and warps, among those with `rest` in their other fields.
template <class Config>
std::optional<Config> nearest_tile(const Config& rest, const Problem& problem, const ArchLimits& limits) {
  std::optional<Config> nearest;
  double least = std::numeric_limits<double>::max();
  Config c = rest;
  for (c.br = 1; c.br <= rest.br; ++c.br)
    for (c.bc = 1; c.bc <= rest.bc; ++c.bc)
      for (c.warps = 1; c.warps <= 32; ++c.warps) {
        const double distance = apart(c.br, rest.br) + apart(c.bc, rest.bc) + apart(c.warps, rest.warps);
        if (distance >= least) continue;
        if (const auto found = legal(c, problem, limits)) nearest = found, least = distance;
      }
  return nearest;
}

/// Tiles first; then what else may give way, one after the other.
template <class Config>
std::optional<Config> nearest_legal(Config config, const Problem& problem, const ArchLimits& limits) {
  if (auto found = legal(config, problem, limits)) return found;
  if constexpr (requires { config.copy; }) {
    if (rejection_of({config}, problem, limits) == Rejection::kCopyWidth) config.copy = narrow(config.copy);
  }
  if (auto found = nearest_tile(config, problem, limits)) return found;
  if constexpr (requires { config.q_in_regs; }) {
    config.q_in_regs = 0;
    if (auto found = nearest_tile(config, problem, limits)) return found;
  }
  return std::nullopt;
}

/// "name value" of each field.
std::vector<std::pair<std::string, std::string>> fields_of(const AnyConfig& config) {
  std::vector<std::pair<std::string, std::string>> fields;
  std::string_view text;
  const std::string all = config_to_text(config);
  for (text = all; !text.empty();) {
    const std::string_view one = text.substr(0, text.find(','));
    const auto equals = one.find('=');
    fields.emplace_back(one.substr(0, equals), one.substr(equals + 1));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
  }
  return fields;
}

}  // namespace

const std::vector<Rung>& ladder_rungs() {
  static const std::vector<Rung> all = [] {
    std::vector<Rung> rungs;
    const nlohmann::json file = nlohmann::json::parse(kLadderJson);
    for (const auto& entry : file.at("rungs")) rungs.push_back(rung_from_json(entry));
    return rungs;
  }();
  return all;
}

std::string name_on(const Rung& rung, Dtype dtype) {
  std::string name = rung.name;
  if (const auto at = name.find(kSixteenBits); at != std::string::npos)
    name.replace(at, std::string_view(kSixteenBits).size(), name_of(dtype));
  return name;
}

std::optional<Problem> problem_on(const Rung& rung, const Problem& sizes) {
  Problem problem = sizes;
  const bool asks_for_16 = sizes.dtype != Dtype::kFp32;
  if (!rung.sixteen_bits && asks_for_16) return std::nullopt;
  if (rung.sixteen_bits && !asks_for_16) problem.dtype = Dtype::kFp16;
  problem.precision = rung.precision;
  return problem;
}

PresetPoint preset_point(const Rung& rung, const Problem& problem, const ArchLimits& limits) {
  PresetPoint point;
  std::visit(
      [&](auto config) {
        if constexpr (kHasTile<decltype(config)>) {
          if (rung.tile.kib > 0) take_square_tile(config, rung.tile, problem.head_dim);
          if (const auto found = nearest_legal(config, problem, limits)) {
            point.candidate = Candidate{*found};
            point.moved = changes_between({config}, *point.candidate);
            return;
          }
        }
        point.why_not = text_of(rejection_of({config}, problem, limits));
      },
      rung.candidate.config);
  return point;
}

std::string changes_between(const Candidate& from, const Candidate& to) {
  if (from.family() != to.family()) return fmt::format("{} to {}", name_of(from.family()), name_of(to.family()));
  const auto before = fields_of(from.config), after = fields_of(to.config);
  std::vector<std::string> changes;
  for (std::size_t i = 0; i < after.size(); ++i)
    if (before[i].second != after[i].second && after[i].first != "blocks_per_sm")
      changes.push_back(fmt::format("{} {} to {}", after[i].first, before[i].second, after[i].second));
  return fmt::format("{}", fmt::join(changes, ", "));
}

}  // namespace flashtune
