// Text of configs, candidates, problems and devices.
#include "cache/codec.h"

#include <gtest/gtest.h>

#include <type_traits>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;

TEST(Codec, WritesEveryFieldOfAConfigInTheOrderOfTheStruct) {
  PrefillMmaConfig config;
  config.br = 64;
  config.load = LoadOrder::kVFirst;
  const std::string text = config_to_text(config);
  std::string expected;
  visit_fields(config, [&](const char* name, const auto& field) {
    expected += (expected.empty() ? "" : ",") + std::string(name) + "=";
    if constexpr (std::is_enum_v<std::remove_cvref_t<decltype(field)>>)
      expected += name_of(field);
    else
      expected += std::to_string(field);
  });
  EXPECT_EQ(text, expected);
  EXPECT_TRUE(contains(text, "br=64,")) << text;
  EXPECT_TRUE(contains(text, "load=v_first")) << text;
}

TEST(Codec, ReadsBackAConfigInWhichEachFieldDiffersInTurn) {
  const PrefillMmaConfig unchanged;
  int fields = 0;
  visit_fields(unchanged, [&](const char*, const auto&) { ++fields; });
  for (int changed = 0; changed < fields; ++changed) {
    PrefillMmaConfig config;
    int i = 0;
    visit_fields(config, [&](const char*, auto& field) {
      using Field = std::remove_cvref_t<decltype(field)>;
      if (i++ == changed) field = static_cast<Field>(static_cast<int>(field) == 0 ? 1 : 0);
    });
    ASSERT_NE(config, unchanged);
    EXPECT_EQ(config_from_text(config_to_text(config), PrefillMmaConfig{}), AnyConfig(config));
  }
}

TEST(Codec, KeepsTheBaseForFieldsThatAreLeftOut) {
  PrefillMmaConfig base;
  base.warps = 8;
  PrefillMmaConfig expected = base;
  expected.bc = 32;
  expected.order = BlockOrder::kLongestFirst;
  EXPECT_EQ(config_from_text("order=longest_first,bc=32", base), AnyConfig(expected));
  EXPECT_EQ(config_from_text("", base), AnyConfig(base));
}

TEST(Codec, NamesTheMisspeltKeyAndListsTheLegalOnes) {
  const Error e = caught([] { config_from_text("br=64,wraps=4", PrefillMmaConfig{}); });
  EXPECT_EQ(e.kind(), ErrorKind::kInvalidArgument);
  EXPECT_TRUE(contains(e.what(), "'wraps'")) << e.what();
  EXPECT_TRUE(contains(e.what(), "br, bc, warps, ")) << e.what();
}

TEST(Codec, NamesTheEnumeratorThatIsNoneAndListsTheLegalOnes) {
  const Error e = caught([] { config_from_text("order=fastest", PrefillMmaConfig{}); });
  EXPECT_EQ(e.kind(), ErrorKind::kInvalidArgument);
  EXPECT_TRUE(contains(e.what(), "'fastest'")) << e.what();
  EXPECT_TRUE(contains(e.what(), "grid, longest_first")) << e.what();
}

TEST(Codec, RefusesNumbersThatAreNotWhole) {
  for (const char* text : {"br=", "br=12x", "br= 128", "br=1.5", "br=+4", "br=0x40", "br=99999999999", "br", "=4", ",",
                           "br=64,", "br=64,br=64"}) {
    const Error e = caught([&] { config_from_text(text, PrefillMmaConfig{}); });
    EXPECT_EQ(e.kind(), ErrorKind::kInvalidArgument) << text;
  }
  EXPECT_TRUE(contains(caught([] { config_from_text("br=12x", PrefillMmaConfig{}); }).what(), "'12x'"));
  EXPECT_TRUE(contains(caught([] { config_from_text("br=99999999999", PrefillMmaConfig{}); }).what(), "too large"));
}

TEST(Codec, ReadsBackACandidate) {
  PrefillMmaConfig config;
  config.k_stages = 3;
  const Candidate candidate{config};
  EXPECT_EQ(candidate_to_text(candidate).rfind("prefill_mma br=", 0), 0u);
  EXPECT_EQ(candidate_from_text(candidate_to_text(candidate)), candidate);
  EXPECT_EQ(candidate_from_text("prefill_mma"), Candidate{default_constructed(Family::kPrefillMma)});
}

TEST(Codec, ListsTheFamiliesWhenOneIsUnknown) {
  const Error e = caught([] { candidate_from_text("prefill_magic br=4"); });
  EXPECT_TRUE(contains(e.what(), "'prefill_magic'")) << e.what();
  EXPECT_TRUE(contains(e.what(), "prefill_mma")) << e.what();
}

TEST(Codec, WritesAProblemForPeople) {
  EXPECT_EQ(problem_to_text(testing::sample_problem()),
            "prefill bf16 b4 h32 kv8 q4096 k4096 d128 dv128 causal w0 bshd");
}

TEST(Codec, ReadsBackProblemsOfEveryLayout) {
  for (const Layout layout : {Layout::kBshd, Layout::kBhsd, Layout::kPacked}) {
    Problem p = testing::sample_problem();
    p.dtype = Dtype::kFp16;
    p.causal = false;
    p.window = 256;
    p = with_layout(p, layout);
    EXPECT_EQ(problem_from_text(problem_to_text(p)), p) << problem_to_text(p);
  }
  Problem strided = testing::sample_problem();
  strided.k = {1LL << 40, 8, 16};
  strided.o.row += 8;
  EXPECT_TRUE(contains(problem_to_text(strided), " strided q:")) << problem_to_text(strided);
  EXPECT_EQ(problem_from_text(problem_to_text(strided)), strided);
}

TEST(Codec, RefusesAProblemThatIsCutOffOrGoesOnOrIsMisspelt) {
  const std::string good = problem_to_text(testing::sample_problem());
  for (std::size_t length = 0; length < good.size(); ++length) {
    // "bshd" cut is no layout, and "w0" without one is no problem: no prefix may pass.
    EXPECT_THROW(problem_from_text(good.substr(0, length)), Error) << good.substr(0, length);
  }
  for (const std::string& text : {good + " ", good + " x", good + " q:1,2,3", " " + good})
    EXPECT_THROW(problem_from_text(text), Error) << text;
  EXPECT_TRUE(contains(caught([] { problem_from_text("prefill fp8 b1"); }).what(), "fp16, bf16"));
  EXPECT_TRUE(
      contains(caught([] { problem_from_text("prefill bf16 b1 h1 kv1 q1 k1 d64 dv64 diagonal w0 bshd"); }).what(),
               "'diagonal'"));
}

TEST(Codec, ReadsBackADeviceWhoseNameHoldsASlash) {
  for (const DeviceKey& device :
       {DeviceKey{"NVIDIA H200", 132, 90}, DeviceKey{"a/b/sm_1/7/sm_80", 108, 100}, DeviceKey{"", 1, 80}})
    EXPECT_EQ(device_from_text(device_to_text(device)), device);
  EXPECT_EQ(device_to_text({"NVIDIA H200", 132, 90}), "NVIDIA H200/132/sm_90");
  for (const char* text : {"", "H200", "H200/sm_90", "/sm_90", "H200/x/sm_90", "H200/132/sm_", "H200/132/sm_9x"})
    EXPECT_THROW(device_from_text(text), Error) << text;
}

TEST(Codec, FindsEveryEnumeratorByItsToken) {
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(enum_from_name<Outcome>(name_of(static_cast<Outcome>(i))), static_cast<Outcome>(i));
  EXPECT_EQ(enum_from_name<Outcome>("fine"), std::nullopt);
  EXPECT_EQ(enum_from_name<Outcome>(""), std::nullopt);
  EXPECT_EQ(enum_names<Dtype>(), "fp16, bf16, fp32");
}

TEST(Codec, WritesTimesThatSort) {
  const std::string now = utc_now();
  EXPECT_TRUE(is_utc_time(now)) << now;
  EXPECT_GT(now, "2024-01-01T00:00:00Z");
  for (const char* text : {"", "yesterday", "2026-11-20 10:00:00Z", "2026-11-20T10:00:00", "2026-11-20T10:00:00+"})
    EXPECT_FALSE(is_utc_time(text)) << text;
}

}  // namespace
}  // namespace flashtune
