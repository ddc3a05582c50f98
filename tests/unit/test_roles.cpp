// What each family says of its fields: which make a structure, which the compiler sees, which tell kinds apart.
#include "flashtune/shared/roles.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "cache/codec.h"
#include "runtime/jit/source.h"
#include "tuner/sweep/search.h"

namespace flashtune {
namespace {

using Names = std::set<std::string>;

/// The fields of a family, by what they are to be.
struct Expected {
  Names structure;
  Names launch;  // not compiled in
  Names kinds;
  Names sizes;
};
const std::map<Family, Expected>& expected() {
  static const std::map<Family, Expected> all = {
      {Family::kPrefillMma,
       {{"br", "bc", "warps", "k_stages", "v_stages", "q_in_regs", "q_smem_reuse", "blocks_per_sm"}, {}, {}, {}}},
      {Family::kPrefillTf32,
       {{"br", "bc", "warps", "k_stages", "v_stages", "q_in_regs", "q_smem_reuse", "blocks_per_sm"}, {}, {}, {}}},
      {Family::kPrefillWgmma,
       {{"warpgroups", "bc", "stages", "blocks_per_sm", "flow", "turns"},
        {"tiles", "order", "section_mib", "pack_gqa", "early"},
        {"early"},
        {}}},
      {Family::kPrefillScalar, {{"split", "loop", "br", "bc", "warps", "row_lanes", "blocks_per_sm"}, {}, {}, {}}},
      {Family::kPrefillFragment, {{"fragment", "loop", "br", "bc", "warps", "blocks_per_sm"}, {}, {}, {}}},
      {Family::kDecodeSplit,
       {{"br", "bc", "warps", "stages", "blocks_per_sm"}, {"splits", "chunk"}, {"merge", "early"}, {"splits"}}},
      {Family::kDecodeScalar,
       {{"br", "bc", "warps", "stages", "blocks_per_sm"}, {"splits", "chunk"}, {"merge", "early"}, {"splits"}}},
      {Family::kKvAppend, {{"threads", "blocks_per_sm"}, {}, {}, {}}},
  };
  return all;
}

/// The default of a family, and of each of its fields the same with that field changed.
template <class F>
void for_each_change(Family family, F&& f) {
  const Candidate usual{default_constructed(family)};
  std::vector<std::string> names;
  std::visit([&](const auto& c) { visit_fields(c, [&](const char* name, const auto&) { names.emplace_back(name); }); },
             usual.config);
  for (const std::string& changed : names) {
    Candidate other = usual;
    const auto change = [&](const char* name, auto& field) {
      using Field = std::remove_reference_t<decltype(field)>;
      if (name == changed) field = static_cast<Field>(static_cast<int>(field) + 1);
    };
    std::visit([&](auto& c) { visit_fields(c, change); }, other.config);
    f(changed, usual, other);
  }
}

TEST(Roles, SayWhichFieldsMakeAStructure) {
  for (const auto& [family, names] : expected()) {
    Names structure;
    for_each_change(family, [&](const std::string& name, const Candidate& usual, const Candidate& other) {
      if (!(structure_of(usual) == structure_of(other))) structure.insert(name);
    });
    EXPECT_EQ(structure, names.structure) << name_of(family);
  }
}

TEST(Roles, SayWhichFieldsTheCompilerDoesNotSee) {
  for (const auto& [family, names] : expected()) {
    Names launch;
    for_each_change(family, [&](const std::string& name, const Candidate& usual, const Candidate& other) {
      EXPECT_EQ(compiled_part(usual), usual) << "the compiler sees a default as it is";
      if (compiled_part(usual) == compiled_part(other))
        launch.insert(name);
      else
        EXPECT_EQ(compiled_part(other), other) << name;
    });
    EXPECT_EQ(launch, names.launch) << name_of(family);
  }
}

TEST(Roles, SayWhichFieldsTellKindsApartAndWhichFitALaunchToTheGpu) {
  for (const auto& [family, names] : expected()) {
    Names kinds, sizes;
    const auto note = [&](const char* name, Role role, const auto&) {
      if (is_kind(role)) kinds.insert(name);
      if (role == Role::kLaunchSize) sizes.insert(name);
      EXPECT_EQ(is_variant(role), names.structure.count(name) == 0) << name;
      EXPECT_EQ(is_compiled(role), names.launch.count(name) == 0) << name;
    };
    std::visit([&](const auto& config) { config.visit(note, config); }, default_constructed(family));
    EXPECT_EQ(kinds, names.kinds) << name_of(family);
    EXPECT_EQ(sizes, names.sizes) << name_of(family);
  }
}

TEST(Roles, AreToldOfEveryFamily) { EXPECT_EQ(expected().size(), std::variant_size_v<AnyConfig>); }

TEST(Roles, OfSeveralConfigsGiveTheSameFieldOfEach) {
  const PrefillMmaConfig usual;
  PrefillMmaConfig wide;
  wide.bc = 128, wide.load = LoadOrder::kVFirst;
  Names differ;
  PrefillMmaConfig::visit(
      [&](const char* name, Role, const auto& a, const auto& b) {
        if (a != b) differ.insert(name);
      },
      usual, wide);
  EXPECT_EQ(differ, (Names{"bc", "load"}));
}

TEST(Roles, LetTheCompiledPartBeKnownWhileCompiling) {
  constexpr DecodeSplitConfig kSplit = {.bc = 32, .splits = 7, .chunk = 0, .early = 2};
  static_assert(compiled_part(kSplit).splits == 1 && compiled_part(kSplit).bc == 32 &&
                compiled_part(kSplit).early == 2);
  constexpr PrefillWgmmaConfig kPacked = {.stages = 3, .pack_gqa = 1};
  static_assert(compiled_part(kPacked) == PrefillWgmmaConfig{.stages = 3});
}

}  // namespace
}  // namespace flashtune
