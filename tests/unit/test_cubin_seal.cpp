// Seals: alike for one secret, different for another, and whose secret counts.
#include "cache/cubin_seal.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::TempFolder;

constexpr const char* kSecret = ".flashtune-secret";

TEST(CubinSeal, IsTheHmacThatOthersCompute) {
  const TempFolder folder;
  testing::write_file(folder / kSecret, "0123456789abcdef0123456789abcdef");
  chmod((folder / kSecret).c_str(), 0600);
  const auto seal = CubinSeal::of(folder.path());
  ASSERT_TRUE(seal);
  // printf 'what a seal is over' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
  EXPECT_EQ(seal->over({"what a seal ", "is over"}),
            "5cdd8111f00fcb3c222866201d88b5a67b8cbdba86914b9ecdac8889ec2e9f89");
}

TEST(CubinSeal, HasASecretThatNobodyElseReads) {
  const TempFolder folder;
  EXPECT_FALSE(CubinSeal::of(folder.path()));
  const std::string made = CubinSeal::of_or_new(folder.path()).over({"x"});
  struct stat facts {};
  ASSERT_EQ(stat((folder / kSecret).c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777u, 0600u);
  EXPECT_EQ(facts.st_size, 32);
  EXPECT_EQ(CubinSeal::of(folder.path())->over({"x"}), made);
  EXPECT_EQ(CubinSeal::of_or_new(folder.path()).over({"x"}), made);
  const TempFolder other;
  EXPECT_NE(CubinSeal::of_or_new(other.path()).over({"x"}), made);
}

TEST(CubinSeal, TakesNoSecretThatOthersMayHaveReadAndLeavesItAlone) {
  const TempFolder folder;
  CubinSeal::of_or_new(folder.path());
  const std::string before = testing::read_file(folder / kSecret);
  chmod((folder / kSecret).c_str(), 0640);
  EXPECT_FALSE(CubinSeal::of(folder.path()));
  const Error e = caught([&] { CubinSeal::of_or_new(folder.path()); });
  EXPECT_EQ(e.kind(), ErrorKind::kIo);
  EXPECT_TRUE(testing::contains(e.what(), (folder / kSecret).string())) << e.what();
  EXPECT_EQ(testing::read_file(folder / kSecret), before);
  EXPECT_EQ(testing::files_of(folder.path()), kSecret);
}

TEST(CubinSeal, IsOfOneSecretForProcessesThatRaceToMakeIt) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "out");
  pid_t children[4];
  for (int i = 0; i < 4; ++i)
    children[i] = testing::start_child([&] {
      testing::write_file(folder / ("out/" + std::to_string(i)), CubinSeal::of_or_new(folder.path()).over({"x"}));
      return true;
    });
  for (const pid_t child : children) EXPECT_TRUE(testing::ended_well(child));
  const std::string seal = CubinSeal::of(folder.path())->over({"x"});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(testing::read_file(folder / ("out/" + std::to_string(i))), seal);
}

TEST(CubinSeal, ComparesWhole) {
  EXPECT_TRUE(CubinSeal::same("abc", "abc"));
  for (const char* other : {"abd", "ab", "abcd", "", "xbc"}) EXPECT_FALSE(CubinSeal::same("abc", other)) << other;
}

}  // namespace
}  // namespace flashtune
