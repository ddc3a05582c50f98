// What the rule of tests/support/watched_kernels.h chooses: a family, a type or an enumerator that nobody watches could
// change unseen.
#include "tests/support/watched_kernels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>

#include "runtime/dispatch/validity.h"
#include "tests/support/digest_table.h"

namespace flashtune {
namespace {

const std::vector<KernelSpec>& watched() {
  static const std::vector<KernelSpec> specs = watched_kernels();
  return specs;
}

std::vector<Family> families() {
  std::vector<Family> all;
  for (int i = 0; name_of(static_cast<Family>(i)) != nullptr; ++i) all.push_back(static_cast<Family>(i));
  return all;
}

std::string type_of(const KernelTraits& t) {
  return t.dtype == Dtype::kFp32 ? fmt::format("fp32 {}", name_of(t.precision)) : name_of(t.dtype);
}

TEST(WatchedKernels, AreOfEveryFamilyWithItsTypesMasksAndPages) {
  const std::map<Family, std::set<std::string>> types = {
      {Family::kPrefillMma, {"bf16", "fp16"}},
      {Family::kDecodeSplit, {"bf16", "fp16"}},
      {Family::kKvAppend, {"bf16", "fp16", "fp32 ieee"}},
      {Family::kPrefillWgmma, {"bf16", "fp16"}},
      {Family::kPrefillTf32, {"fp32 tf32", "fp32 tf32x3"}},
      {Family::kPrefillScalar, {"fp32 ieee"}},
      {Family::kPrefillFragment, {"fp32 tf32"}},
      {Family::kDecodeScalar, {"bf16", "fp16", "fp32 ieee"}},
  };
  for (const Family family : families())
    for (const int arch : {80, 90}) {
      std::set<std::string> seen_types, masks;
      std::set<bool> pages;
      for (const KernelSpec& spec : watched()) {
        if (spec.candidate.family() != family || spec.arch != arch) continue;
        const KernelTraits& t = spec.traits;
        seen_types.insert(type_of(t));
        masks.insert(t.windowed ? "window" : t.causal ? "causal" : "none");
        pages.insert(t.paged);
      }
      const std::string where = fmt::format("{} on sm_{}", name_of(family), arch);
      if (family == Family::kPrefillWgmma && arch == 80) {
        EXPECT_TRUE(seen_types.empty()) << where;
        continue;
      }
      EXPECT_EQ(seen_types, types.at(family)) << where;
      EXPECT_EQ(masks.size(), family == Family::kKvAppend ? 1u : 3u) << where;
      const bool is_prefill = std::string(name_of(family)).rfind("prefill", 0) == 0;
      EXPECT_EQ(pages.size(), is_prefill ? 1u : 2u) << where;
    }
}

TEST(WatchedKernels, HaveEveryTypeWithEveryMaskAndPagesSomewhere) {
  using Kind = std::tuple<Family, std::string, bool, bool>;
  std::map<Kind, std::set<bool>> pages;  // of decode
  for (const KernelSpec& spec : watched())
    if (spec.traits.op == Op::kDecode)
      pages[{spec.candidate.family(), type_of(spec.traits), spec.traits.causal && !spec.traits.windowed,
             spec.traits.windowed}]
          .insert(spec.traits.paged);
  EXPECT_EQ(pages.size(), 3u * (2 + 3));
  for (const auto& [kind, found] : pages)
    EXPECT_EQ(found.size(), 2u) << name_of(std::get<0>(kind)) << " " << std::get<1>(kind);
}

/// Whether the compiler sees this field of a config.
template <class Config, class Field>
bool is_compiled(Config& config, Field& field) {
  const Candidate before = compiled_part(Candidate{config});
  const Field kept = field;
  field = static_cast<Field>(static_cast<int>(field) + 1);
  const Candidate after = compiled_part(Candidate{config});
  field = kept;
  return !(before == after);
}

TEST(WatchedKernels, HaveEveryEnumeratorThatIsCompiledAndTwoValuesOfEveryNumber) {
  struct Seen {
    std::set<int> values;
    std::set<int> enumerators;  // none of a number
  };
  std::map<std::string, Seen> fields;  // "prefill_mma.load"
  for (const KernelSpec& spec : watched())
    std::visit(
        [&](auto config) {
          visit_fields(config, [&](const char* name, auto& value) {
            using Field = std::remove_cvref_t<decltype(value)>;
            if (!is_compiled(config, value)) return;
            Seen& seen = fields[fmt::format("{}.{}", name_of(spec.candidate.family()), name)];
            seen.values.insert(static_cast<int>(value));
            if constexpr (std::is_enum_v<Field>)
              for (int i = 0; name_of(static_cast<Field>(i)) != nullptr; ++i) seen.enumerators.insert(i);
          });
        },
        spec.candidate.config);
  // Enumerators of other families that share the type.
  const std::map<std::string, std::set<int>> others = {
      {"prefill_mma.smem", {static_cast<int>(SmemLayout::kSlabs)}},
      {"prefill_scalar.layout", {static_cast<int>(Fp32Layout::kXor), static_cast<int>(Fp32Layout::kRotate)}},
      {"decode_scalar.copy", {static_cast<int>(Fp32Copy::kPlain16), static_cast<int>(Fp32Copy::kPlain4)}},
  };
  for (auto& [name, seen] : fields) {
    if (const auto left_out = others.find(name); left_out != others.end()) {
      for (const int value : left_out->second) EXPECT_EQ(seen.enumerators.erase(value), 1u) << name;
    }
    if (seen.enumerators.empty()) {
      EXPECT_GE(seen.values.size(), 2u) << name << " is watched at one value; add a variant";
    } else {
      EXPECT_EQ(seen.values, seen.enumerators) << name << " is not watched at every value; add a variant";
    }
  }
  EXPECT_GT(fields.size(), 60u);
}

TEST(WatchedKernels, AreEachThereOnceAndLegal) {
  std::set<std::string> texts;
  for (const KernelSpec& spec : watched()) {
    const std::string text = kernel_text(spec, entry_of(spec.candidate));
    EXPECT_TRUE(texts.insert(text).second) << text;
    EXPECT_EQ(rejection_of(spec.candidate, spec.traits, limits_of(spec.arch)), Rejection::kNone) << text;
    EXPECT_EQ(compiled_part(spec.candidate), spec.candidate) << text;
    EXPECT_EQ(traits_of(typical_problem(spec.traits)), spec.traits) << text;
  }
  EXPECT_EQ(watched_kernels(), watched());
  EXPECT_GE(watched().size(), 100u);
  EXPECT_LE(watched().size(), 170u) << "each takes a second of CI";
}

TEST(WatchedKernels, HoldWhatTestsAskOfThemAlone) {
  const auto is_watched = [](const KernelSpec& spec) {
    return std::find(watched().begin(), watched().end(), spec) != watched().end();
  };
  EXPECT_EQ(hopper_defaults().size(), 10u);
  for (const KernelSpec& spec : hopper_defaults()) EXPECT_TRUE(is_watched(spec));
  EXPECT_EQ(ladder_presets().size(), 22u);
  for (const KernelSpec& spec : ladder_presets()) EXPECT_TRUE(is_watched(spec));
}

}  // namespace
}  // namespace flashtune
