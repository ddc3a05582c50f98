// JSON of strangers: what is read, and what is refused before anything of it is built.
#include "cache/foreign_json.h"

#include <gtest/gtest.h>

#include <string>

namespace flashtune {
namespace {

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::string fault_of(const std::string& text) { return parse_foreign_json(text).fault; }

TEST(ForeignJson, IsReadAsTheLibraryReadsIt) {
  const std::string text =
      R"({"a":[1,-2,2.5,1e3,true,false,null,"t\u00e9\n"],"b":{},"c":[],"d":{"e":[[],[{}]]},"f":18446744073709551615})";
  const ParsedJson parsed = parse_foreign_json(text);
  EXPECT_EQ(parsed.fault, "");
  EXPECT_EQ(parsed.value, nlohmann::json::parse(text));
  EXPECT_EQ(parse_foreign_json(" 7 ").value, 7);
}

TEST(ForeignJson, NestsSixtyFourLevelsAndNoMore) {
  for (const auto& [open, close] : {std::pair<std::string, std::string>{"[", "]"}, {R"({"a":)", "}"}}) {
    EXPECT_EQ(fault_of(repeated(open, 64) + (open == "[" ? "" : "1") + repeated(close, 64)), "");
    EXPECT_NE(fault_of(repeated(open, 65) + (open == "[" ? "" : "1") + repeated(close, 65)).find("64 levels deep"),
              std::string::npos);
    EXPECT_NE(fault_of(repeated(open, 1000000)).find("64 levels deep"), std::string::npos);
  }
  EXPECT_EQ(fault_of(R"({"trials":[1,{"config":)" + repeated("[", 100)),
            "it nests more than 64 levels deep, at 'trials[1].config[0][0][0][0][0]...'");
}

TEST(ForeignJson, SaysNoKeyTwice) {
  EXPECT_EQ(fault_of(R"({"a":1,"b":2,"a":3})"), "it says 'a' twice");
  EXPECT_EQ(fault_of(R"({"a":[{},{"b":{"c":1,"c":1}}]})"), "it says 'a[1].b.c' twice");
  EXPECT_EQ(fault_of(R"({"a":1,"\u0061":1})"), "it says 'a' twice");
  EXPECT_EQ(fault_of(R"([{"a":1},{"a":1}])"), "");
}

TEST(ForeignJson, SaysWhereATextGoesWrong) {
  EXPECT_EQ(fault_of(""), "it is not whole JSON: it goes wrong at byte 0 (line 1) of 0");
  EXPECT_EQ(fault_of("{\n\"a\" 1}"), "it is not whole JSON: it goes wrong at byte 7 (line 2) of 8");
  EXPECT_EQ(fault_of("[1] x"), "it is not whole JSON: it goes wrong at byte 5 (line 1) of 5");
  EXPECT_EQ(fault_of("[NaN]"), "it is not whole JSON: it goes wrong at byte 2 (line 1) of 5");
  EXPECT_EQ(fault_of("[\"\xff\"]"), "it is not whole JSON: it goes wrong at byte 3 (line 1) of 5");
  EXPECT_EQ(fault_of("[\"\n\"]"), "it is not whole JSON: it goes wrong at byte 3 (line 2) of 5");
}

TEST(ForeignJson, HoldsNoNumberThatNoDoubleHolds) {
  EXPECT_EQ(fault_of("[1e999]"), "the number 1e999 is too large");
  EXPECT_EQ(fault_of("[-1e999]"), "the number -1e999 is too large");
  EXPECT_NE(fault_of("[" + std::string(100000, '9') + "]").find("... (100000 bytes) is too large"), std::string::npos);
  EXPECT_TRUE(parse_foreign_json("18446744073709551616").value.is_number_float());
}

TEST(ForeignJson, IsShownShortAndHarmless) {
  EXPECT_EQ(shown(parse_foreign_json(R"({"a":1})").value), "an object");
  EXPECT_EQ(shown(parse_foreign_json("[1,2,3]").value), "a list of 3");
  EXPECT_EQ(shown(parse_foreign_json("2.5").value), "2.5");
  EXPECT_EQ(shown(parse_foreign_json("null").value), "null");
  EXPECT_EQ(shown(parse_foreign_json(R"("a\u001b]0;\u009b\u202e")").value), R"("a\x1b]0;\xc2\x9b\xe2\x80\xae")");
  EXPECT_LT(shown(nlohmann::json(std::string(1000000, 'x'))).size(), 250u);
}

}  // namespace
}  // namespace flashtune
