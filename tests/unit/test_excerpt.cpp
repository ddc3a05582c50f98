// Foreign text in messages: cut, and without what a terminal would obey.
#include "cache/excerpt.h"

#include <gtest/gtest.h>

#include "cache/plain_text.h"

namespace flashtune {
namespace {

TEST(Excerpt, OfAShortPlainTextIsTheText) {
  EXPECT_EQ(excerpt_of(""), "");
  EXPECT_EQ(excerpt_of("br=128, \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "br=128, \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(excerpt_of(std::string(kMostExcerpt, 'x')), std::string(kMostExcerpt, 'x'));
}

TEST(Excerpt, EscapesWhatIsObeyedAndWhatIsNoText) {
  EXPECT_EQ(excerpt_of(std::string("a\n\t\r\x1b\x7f\0", 7)), "a\\n\\t\\r\\x1b\\x7f\\x00");
  EXPECT_EQ(excerpt_of("\xff\xc0\x80"), "\\xff\\xc0\\x80");
}

TEST(Excerpt, OfALongTextSaysHowLongItIs) {
  EXPECT_EQ(excerpt_of("abcdef", 3), "abc... (6 bytes)");
  EXPECT_LT(excerpt_of(std::string(10000000, '\x1b')).size(), 5 * kMostExcerpt);
}

TEST(Excerpt, IsNotCutWithinACharacter) {
  const std::string text = "a\xf0\x9f\x98\x80\xe2\x82\xac";
  for (std::size_t most = 1; most < text.size(); ++most) EXPECT_TRUE(is_plain(excerpt_of(text, most))) << most;
  EXPECT_EQ(excerpt_of(text, 4), "a... (8 bytes)");
  EXPECT_EQ(excerpt_of(text, 5), "a\xf0\x9f\x98\x80... (8 bytes)");
}

}  // namespace
}  // namespace flashtune
