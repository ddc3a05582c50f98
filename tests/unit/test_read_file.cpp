// Files that strangers name: what is read, and why what is not.
#include "cache/read_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "cache/paths.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;
using testing::TempFolder;
using testing::write_file;

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::string why_not(const std::filesystem::path& path, std::size_t most = kMiB) {
  return caught([&] { read_text(path, most, "a suite"); }).what();
}

TEST(ReadText, GivesAllOfAFile) {
  const TempFolder folder;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65535}, std::size_t{65536}, kMiB}) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 / 5);
    write_file(folder / "f", bytes);
    EXPECT_EQ(read_text(folder / "f", kMiB, "a suite"), bytes) << size;
  }
  EXPECT_FALSE(read_text("/proc/self/status", kMiB, "a file").empty()) << "its size is said to be 0";
}

TEST(ReadText, ReadsAPipeToItsEnd) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { write_file(folder / "pipe", std::string(200000, 'p')); });
  EXPECT_EQ(read_text(folder / "pipe", kMiB, "a suite"), std::string(200000, 'p'));
  writer.join();
}

TEST(ReadText, RefusesMoreThanIsSensible) {
  const TempFolder folder;
  write_file(folder / "f", std::string(kMiB + 1, 'x'));
  EXPECT_TRUE(contains(why_not(folder / "f"), "a suite has at most 1 MiB, and this is more"));
  ASSERT_EQ(truncate((folder / "f").c_str(), off_t{1} << 40), 0);  // and does not try to hold it
  EXPECT_TRUE(contains(why_not(folder / "f"), "at most 1 MiB"));
}

TEST(ReadText, RefusesWhatIsNoFile) {
  const TempFolder folder;
  EXPECT_TRUE(contains(why_not(folder.path()), "this is a folder"));
  EXPECT_TRUE(contains(why_not("/dev/zero"), "this is a device"));
  EXPECT_TRUE(contains(why_not(folder / "none"), "there is no such file"));
  EXPECT_TRUE(contains(why_not(folder / "none" / "at all"), "there is no such file"));
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_TRUE(contains(why_not(folder / "loop"), "Too many levels of symbolic links"));
  EXPECT_TRUE(contains(why_not(folder / std::string(5000, 'a')), "File name too long"));
}

TEST(PlainFile, RefusesAPipeAtOnce) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(contains(caught([&] { PlainFile(folder / "pipe"); }).what(), "this is a pipe"));
}

TEST(PlainFile, ReadsAnywhereAndNotBehindItsEnd) {
  const TempFolder folder;
  write_file(folder / "f", "0123456789");
  const PlainFile file(folder / "f");
  EXPECT_EQ(file.bytes(), 10u);
  std::string part(4, ' ');
  file.read(3, part.data(), part.size());
  EXPECT_EQ(part, "3456");
  EXPECT_TRUE(contains(caught([&] { file.read(7, part.data(), part.size()); }).what(), "became shorter"));
}

TEST(Paths, AreAskedForInOurOwnWords) {
  const TempFolder folder;
  EXPECT_TRUE(is_there(folder.path()));
  EXPECT_FALSE(is_there(folder / "none"));
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_TRUE(contains(caught([&] { is_there(folder / "loop"); }).what(), "Too many levels of symbolic links"));
  EXPECT_EQ(whole_path("/a/b"), "/a/b");
}

TEST(Paths, ThatAreRelativeNeedACurrentFolder) {
  EXPECT_TRUE(testing::ended_well(testing::start_child([] {
    std::string name = (std::filesystem::temp_directory_path() / "flashtune-gone-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr || chdir(name.c_str()) != 0 || rmdir(name.c_str()) != 0) return false;
    return contains(caught([] { whole_path("x.db"); }).what(), "the current folder cannot be told");
  })));
}

}  // namespace
}  // namespace flashtune
