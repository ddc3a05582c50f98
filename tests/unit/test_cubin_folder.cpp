// What of a folder is ours: what counts, what goes when there is too much, and what is never touched.
#include "cache/cubin_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "cache/keys.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

constexpr const char* kTemporary = ".flashtune-1234-0123456789abcdef.tmp";
constexpr int kHour = 3600;

class CubinFolder : public ::testing::Test {
 protected:
  fs::path file_of(const std::string& name) const { return folder / cubin_name_of(digest_of(name)); }
  /// A file of `size` bytes that begins as ours do, last used so long ago.
  fs::path write(const std::string& name, std::size_t size, int seconds_ago) const {
    const fs::path path = file_of(name);
    testing::write_file(path, std::string(kCubinMagic) + std::string(size - kCubinMagic.size(), 'x'));
    age(path, seconds_ago);
    return path;
  }
  static void age(const fs::path& path, int seconds) {
    const timespec then{std::time(nullptr) - seconds, 0}, both[] = {then, then};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), both, AT_SYMLINK_NOFOLLOW), 0) << path;
  }

  TempFolder folder;
};

TEST_F(CubinFolder, HoldsPlainFilesOfItsNamesTheLongestUnusedFirst) {
  const fs::path young = write("young", 100, 10), old = write("old", 200, 5000), middle = write("middle", 300, 60);
  testing::write_file(folder / "kernel.cubin", "flashtune-cubin not its name");
  testing::write_file(folder / (digest_of("x") + ".txt"), "x");
  fs::create_symlink(young, file_of("link"));
  fs::create_directory(file_of("folder"));
  const std::vector<CubinFile> files = cubins_in(folder.path());
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0].path, old);
  EXPECT_EQ(files[1].path, middle);
  EXPECT_EQ(files[2].path, young);
  EXPECT_EQ(bytes_of(files), 600u);
  EXPECT_TRUE(cubins_in(folder / "none").empty());
}

TEST_F(CubinFolder, LosesTheLongestUnusedWhereItIsTooLarge) {
  for (int i = 0; i < 10; ++i) write(std::to_string(i), 1000, 1000 - i);
  trim_cubins(folder.path(), 10000);
  EXPECT_EQ(cubins_in(folder.path()).size(), 10u);
  trim_cubins(folder.path(), 4500);
  const std::vector<CubinFile> left = cubins_in(folder.path());
  ASSERT_EQ(left.size(), 4u);
  EXPECT_EQ(left.front().path, file_of("6"));
  trim_cubins(folder.path(), 0);
  EXPECT_EQ(testing::files_of(folder.path()), "");
}

TEST_F(CubinFolder, KeepsWhatItDidNotMakeHoweverLargeAndOld) {
  testing::write_file(file_of("mine"), std::string(5000, 'm'));  // of an entry's name, but another's words
  testing::write_file(folder / "thesis.cubin", "flashtune-cubin " + std::string(5000, 't'));
  age(file_of("mine"), 100 * kHour);
  age(folder / "thesis.cubin", 100 * kHour);
  write("ours", 1000, 10);
  trim_cubins(folder.path(), 0);
  EXPECT_EQ(testing::read_file(file_of("mine")), std::string(5000, 'm'));
  EXPECT_TRUE(fs::exists(folder / "thesis.cubin"));
  EXPECT_FALSE(fs::exists(file_of("ours")));
}

TEST_F(CubinFolder, KeepsWhatWasUsedSinceItWasListed) {
  const fs::path path = write("served", 1000, 100);
  const CubinFile listed = cubins_in(folder.path()).front();
  age(path, 0);
  EXPECT_FALSE(remove_cubin(listed));
  EXPECT_TRUE(remove_cubin(cubins_in(folder.path()).front()));
  EXPECT_FALSE(remove_cubin(listed)) << "it is gone already";
}

TEST_F(CubinFolder, LosesTheTemporariesOfKilledWritersAndNoOtherFile) {
  const std::string young = ".flashtune-1235-0123456789abcdef.tmp", linked = ".flashtune-1236-0123456789abcdef.tmp";
  for (const char* name : {kTemporary, "thesis.txt", "1234-0", ".flashtune-notes.tmp", "tmp"}) {
    testing::write_file(folder / name, "words");
    age(folder / name, 2 * kHour);
  }
  testing::write_file(folder / young, "words");
  fs::create_symlink("thesis.txt", folder / linked);
  age(folder / linked, 2 * kHour);
  remove_abandoned(folder.path());
  EXPECT_EQ(testing::files_of(folder.path()), young + " " + linked + " .flashtune-notes.tmp 1234-0 thesis.txt tmp");
}

TEST(CubinLimit, IsANumberOfBytesOrOfLargerUnits) {
  EXPECT_EQ(cubin_limit_of(nullptr), kDefaultCubinLimit);
  EXPECT_EQ(cubin_limit_of(""), kDefaultCubinLimit);
  EXPECT_EQ(cubin_limit_of("2000000"), 2000000u);
  EXPECT_EQ(cubin_limit_of("2048K"), 2u << 20);
  EXPECT_EQ(cubin_limit_of("500M"), std::uintmax_t{500} << 20);
  EXPECT_EQ(cubin_limit_of("3G"), std::uintmax_t{3} << 30);
  EXPECT_EQ(cubin_limit_of("1T"), std::uintmax_t{1} << 40);
}

TEST(CubinLimit, ThatIsNoneIsRefused) {
  for (const char* text :
       {"0", "-1", "1x", "M", "1.5G", " 2G", "2 G", "2GB", "1000", "99999999999999999999", "99999999T"}) {
    const Error e = testing::caught([&] { cubin_limit_of(text); });
    EXPECT_EQ(e.kind(), ErrorKind::kInvalidArgument) << text;
    EXPECT_TRUE(testing::contains(e.what(), text) && testing::contains(e.what(), "FLASHTUNE_CUBIN_LIMIT")) << e.what();
  }
}

}  // namespace
}  // namespace flashtune
