// Text that a terminal would obey is found, refused and shown.
#include "cache/plain_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace flashtune {
namespace {

TEST(PlainText, LettersOfAnyLanguageArePlain) {
  for (const char* text : {"", "NVIDIA H200", "GeForce RTX\xE2\x84\xA2", "\xC3\xA9t\xC3\xA9", "\xF0\x9F\x90\xA2",
                           "it's; DROP TABLE trials;--"})
    EXPECT_TRUE(is_plain(text)) << text;
}

TEST(PlainText, ControlCharactersTurnsOfDirectionAndBytesThatAreNoUtf8AreNot) {
  for (const std::string& text :
       {std::string("\0", 1), std::string("\x1b[2J"), std::string("a\nb"), std::string("a\tb"), std::string("a\rb"),
        std::string("\x7f"), std::string("\xC2\x9B"), std::string("\xE2\x80\xAE"), std::string("\xE2\x81\xA6"),
        std::string("\xE2\x80\xA8"), std::string("\xff"), std::string("\xC3"), std::string("\xC0\x80"),
        std::string("\xED\xA0\x80"), std::string("\xF4\x90\x80\x80"), std::string("\xE0\x80\xAF")}) {
    EXPECT_FALSE(is_plain(text)) << printable(text);
    EXPECT_TRUE(is_plain(printable(text))) << printable(text);
  }
  EXPECT_EQ(unplain_part("ab\x1b"), "the control character \\x1b at byte 2");
}

TEST(PlainText, IsShownAsCWritesIt) {
  EXPECT_EQ(printable("a\x1b[31mb\n\t\r\xff\xC3\xA9"), "a\\x1b[31mb\\n\\t\\r\\xff\xC3\xA9");
  EXPECT_EQ(printable_lines("a\x1b\n\tb\r"), "a\\x1b\n\tb\\r");
}

TEST(PlainText, JsonKeepsItsMeaning) {
  const nlohmann::json json = {{"a\x7f",
                                "\xC2\x9B"
                                "2J \xC2\xA9 \x1b"}};
  const std::string text = printable_json(json.dump());
  EXPECT_TRUE(is_plain(text)) << text;
  EXPECT_EQ(nlohmann::json::parse(text), json);
}

}  // namespace
}  // namespace flashtune
