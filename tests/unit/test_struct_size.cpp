// Sizes of public structs: which are read, with what in fields that are missing, and what is said of the others.
#include "runtime/api/struct_size.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cache/error.h"
#include "runtime/api/c_api.h"
#include "tests/support/fake_device.h"

namespace flashtune {
namespace {

/// A struct of which a program knows the first version, and this library three.
struct Grown {
  std::uint32_t size;
  std::int32_t first;
  double second;
  void* third;
};

}  // namespace

template <>
inline constexpr StructVersions kVersionsOf<Grown>{"grown", "GROWN_INIT", 8};

namespace {

template <class Call>
std::string refusal_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return "taken";
}

TEST(StructSize, ReadsEveryVersionWithZeroInWhatItLacks) {
  int some = 0;
  const Grown whole{sizeof(Grown), 3, 4.5, &some};
  EXPECT_EQ(read_struct(whole, "it").second, 4.5);
  EXPECT_EQ(read_struct(whole, "it").third, &some);
  for (const std::uint32_t size : {8u, 16u}) {
    Grown older = whole;  // what lies behind an older struct is not its own
    older.size = size;
    const Grown read = read_struct(older, "it");
    EXPECT_EQ(read.size, sizeof(Grown));
    EXPECT_EQ(read.first, 3);
    EXPECT_EQ(read.second, size == 16 ? 4.5 : 0);
    EXPECT_EQ(read.third, nullptr);
  }
}

TEST(StructSize, SaysWhatIsWrongWithAnyOther) {
  const auto says = [](std::uint32_t size) {
    return refusal_of([&] { read_struct(Grown{size, 0, 0, nullptr}, "it"); });
  };
  EXPECT_EQ(says(0), "it has size 0: begin an grown with GROWN_INIT");
  EXPECT_EQ(says(7), "it says that it has 7 bytes, and the grown of flashtune 0.1 had 8: begin it with GROWN_INIT");
  EXPECT_EQ(says(25),
            std::string("it says that it has 25 bytes, and the grown of flashtune ") + ft_version() +
                " has 24: the program was compiled for a newer flashtune than this library is, which has to be "
                "replaced; or the struct was not begun with GROWN_INIT");
}

TEST(StructSize, OfAnArraysElementsIsTheWayToTheNext) {
  struct Older {
    std::uint32_t size;
    std::int32_t first;
    double second;
  };
  Older older[] = {{sizeof(Older), 1, 1.5}, {sizeof(Older), 2, 2.5}, {sizeof(Older), 3, 3.5}};
  const auto* array = reinterpret_cast<const Grown*>(&older[0]);
  const std::vector<Grown> read = read_structs(array, 3, "they");
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read[2].first, 3);
  EXPECT_EQ(read[2].second, 3.5);
  EXPECT_EQ(read[1].third, nullptr);
  older[1].size = 8;
  EXPECT_EQ(refusal_of([&] { read_structs(array, 3, "they"); }),
            "they[1] says that it has 8 bytes, and the first of the array 16: an array has elements of one size");
  older[1].size = 0;
  EXPECT_EQ(refusal_of([&] { read_structs(array, 3, "they"); }), "they[1] has size 0: begin an grown with GROWN_INIT");
  EXPECT_TRUE(read_structs<Grown>(nullptr, 0, "they").empty());
}

/// Whoever changes one of these ends the programs that were compiled with it.
TEST(StructSize, OfVersion01IsTakenForEver) {
  EXPECT_EQ(kVersionsOf<ft_problem>.first, 160u);
  EXPECT_EQ(kVersionsOf<ft_tensors>.first, 88u);
  EXPECT_EQ(kVersionsOf<ft_append_tensors>.first, 168u);
  EXPECT_EQ(kVersionsOf<ft_options>.first, 72u);
  EXPECT_EQ(kVersionsOf<ft_decision>.first, 16u);
}

class SizesInC : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = std::make_unique<FakeDevice>();
    device->register_kernel("attention", [this](const Launch&) { ++launches; });
    EngineOptions options;
    options.compile = [](const KernelSpec&) { return compiled_to("attention"); };
    engine = make_engine_handle(std::move(device), std::move(options));
    ft_problem_init(&problem, FT_FP16, 2, 8, 4, 100, 200, 64);
  }
  void TearDown() override { ft_engine_destroy(engine); }

  /// Sets `size` to 0, to a byte less and to a byte more than it is; each time `call` must fail and say it of `name`.
  template <class Call>
  void expect_judged(std::uint32_t& size, const std::string& name, const Call& call) {
    const std::uint32_t right = size;
    for (const std::uint32_t wrong : {0u, right - 1, right + 1}) {
      size = wrong;
      EXPECT_EQ(call(), FT_INVALID_ARGUMENT) << name << " of " << wrong;
      const std::string said = ft_last_error();
      EXPECT_EQ(said.rfind(name + (wrong == 0 ? " has size 0" : " says that it has " + std::to_string(wrong)), 0), 0u)
          << said;
      if (wrong > right) {
        EXPECT_NE(said.find(std::to_string(right)), std::string::npos) << said;
        EXPECT_NE(said.find(ft_version()), std::string::npos) << said;
      }
    }
    size = right;
    EXPECT_EQ(launches, 0);
  }

  ft_engine* engine = nullptr;
  ft_problem problem;
  int launches = 0;
};

TEST_F(SizesInC, OfAProblemAreJudgedByEveryFunctionThatTakesOne) {
  size_t bytes = 0;
  ft_tensors tensors = FT_TENSORS_INIT;
  ft_append_tensors append = FT_APPEND_TENSORS_INIT;
  ft_decision decision = FT_DECISION_INIT;
  const auto judged = [&](const auto& call) { expect_judged(problem.size, "problem", call); };
  judged([&] { return ft_problem_set_layout(&problem, FT_BHSD); });
  judged([&] { return ft_supported(&problem, nullptr) == 0 ? FT_INVALID_ARGUMENT : FT_OK; });
  judged([&] { return ft_workspace_bytes(engine, &problem, &bytes); });
  judged([&] { return ft_forward(engine, &problem, &tensors, nullptr, nullptr); });
  judged([&] { return ft_append(engine, &problem, &append, nullptr, nullptr); });
  judged([&] { return ft_decide(engine, &problem, &decision); });
  judged([&] { return ft_config_text(engine, &problem, nullptr, 0, &bytes); });
  judged([&] { return ft_explain(engine, &problem, nullptr, 0, &bytes); });
}

TEST_F(SizesInC, OfTheOthersAreJudgedToo) {
  ft_tensors tensors = FT_TENSORS_INIT;
  expect_judged(tensors.size, "tensors", [&] { return ft_forward(engine, &problem, &tensors, nullptr, nullptr); });
  ft_append_tensors append = FT_APPEND_TENSORS_INIT;
  expect_judged(append.size, "tensors", [&] { return ft_append(engine, &problem, &append, nullptr, nullptr); });
  ft_decision decision = FT_DECISION_INIT;
  decision.expected_us = 7;
  expect_judged(decision.size, "decision", [&] { return ft_decide(engine, &problem, &decision); });
  EXPECT_EQ(decision.expected_us, 7) << "a call that fails changes nothing";
  ft_options options = FT_OPTIONS_INIT;
  ft_engine* none = engine;
  expect_judged(options.size, "options", [&] { return ft_engine_create(&options, &none); });
  EXPECT_EQ(none, nullptr);
}

TEST_F(SizesInC, OfAnArrayAreThoseOfEachElementAndAlike) {
  ft_problem problems[] = {problem, problem, problem};
  for (std::size_t i = 0; i < 3; ++i)
    expect_judged(problems[i].size, "problems[" + std::to_string(i) + "]",
                  [&] { return ft_prepare(engine, problems, 3); });
  EXPECT_EQ(ft_prepare(engine, problems, 3), FT_OK) << ft_last_error();
}

TEST(StructSize, OfAProblemIsSetByWhatBeginsItAndNothingBehindItIsWritten) {
  struct {
    ft_problem problem;
    unsigned char behind[16];
  } memory;
  const std::size_t whole = sizeof(memory);
  for (const std::size_t size : {sizeof(ft_problem) - 8, sizeof(ft_problem), sizeof(ft_problem) + 8}) {
    std::memset(&memory, 0xee, whole);
    ft_problem_init_sized(&memory.problem, size, FT_BF16, 1, 4, 4, 64, 64, 128);
    EXPECT_EQ(memory.problem.size, size);
    EXPECT_EQ(memory.problem.heads, 4);
    EXPECT_EQ(memory.problem.q.row, 4 * 128);
    const auto* bytes = reinterpret_cast<const unsigned char*>(&memory);
    for (std::size_t i = size; i < whole; ++i) EXPECT_EQ(bytes[i], 0xee) << i << " of " << size;
    for (std::size_t i = sizeof(ft_problem); i < size; ++i) EXPECT_EQ(bytes[i], 0) << i << " of " << size;
  }
}

}  // namespace
}  // namespace flashtune
