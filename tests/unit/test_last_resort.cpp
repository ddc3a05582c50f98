// Exceptions that nobody foresaw, in our own words.
#include "cache/last_resort.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

namespace flashtune {
namespace {

std::string text_of_what(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception& error) {
    const std::string text = text_of(error);
    EXPECT_EQ(text.find(error.what()), std::string::npos) << "a library's own words: " << text;
    return text;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(LastResort, LeavesOurOwnErrorsAsTheyAre) {
  EXPECT_EQ(text_of(Error(ErrorKind::kIo, "the file is too short; get a whole one")),
            "the file is too short; get a whole one");
}

TEST(LastResort, SaysThatMemoryIsShort) {
  for (const std::function<void()>& body : std::vector<std::function<void()>>{
           [] { throw std::bad_alloc(); }, [] { std::string().resize(std::string::npos); }})
    EXPECT_NE(text_of_what(body).find("not enough memory"), std::string::npos);
}

TEST(LastResort, SaysWhatTheSystemRefused) {
  EXPECT_EQ(text_of_what([] { throw std::system_error(EAGAIN, std::generic_category(), "pthread_create"); }),
            "the system refused: Resource temporarily unavailable");
  EXPECT_EQ(text_of_what([] { (void)std::filesystem::file_size("/nowhere\x1b"); }),
            "/nowhere\\x1b: the file system refused: No such file or directory");
}

TEST(LastResort, CallsTheRestAFaultOfFlashtune) {
  EXPECT_NE(text_of_what([] { (void)std::vector<int>().at(3); }).find("a fault of its own (std::out_of_range)"),
            std::string::npos);
  text_of_what([] { (void)std::stoi("x"); });
  text_of_what([] { (void)std::map<int, int>().at(3); });
  text_of_what([] { (void)std::get<0>(std::variant<int, double>(1.5)); });
}

TEST(LastResort, NamesTheFileThatWasRead) {
  try {
    while_reading("some.json", []() -> int { throw std::bad_alloc(); });
    FAIL() << "the exception was lost";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("reading some.json failed: there is not enough memory"), 0u)
        << error.what();
  }
  EXPECT_EQ(while_reading("some.json", [] { return 7; }), 7);
}

}  // namespace
}  // namespace flashtune
