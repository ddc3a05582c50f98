// Whose files are: what is opened, what is in doubt and why, for root and for an ordinary user.
#include "cache/own_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;
using testing::caught;
using testing::contains;
using testing::TempFolder;

constexpr uid_t kSomebody = 12345;

bool give(const fs::path& path, uid_t owner) { return lchown(path.c_str(), owner, owner) == 0; }
void set_mode(const fs::path& path, mode_t mode) { ASSERT_EQ(chmod(path.c_str(), mode), 0) << path; }
mode_t mode_of(const fs::path& path) {
  struct stat facts {};
  EXPECT_EQ(stat(path.c_str(), &facts), 0) << path;
  return facts.st_mode & 07777u;
}

class OwnershipTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder / "a/b");
    testing::write_file(file, "x");
    for (const char* name : {"a", "a/b"}) set_mode(folder / name, 0755);
    set_mode(file, 0644);
  }
  std::string doubt(std::optional<uid_t> also = std::nullopt) const { return ownership_of(file, also).doubt; }

  TempFolder folder;
  fs::path file = folder / "a/b/file";
};

TEST_F(OwnershipTest, IsNotInDoubtBelowATemporaryFolderThatAllMayWrite) {
  EXPECT_EQ(doubt(), "");
  set_mode(folder / "a", 01777);
  EXPECT_EQ(doubt(), "") << "who may write there may not replace what others have";
}

TEST_F(OwnershipTest, IsInDoubtWhereOthersMayWrite) {
  for (const fs::path& path : {file, folder / "a/b", folder / "a"}) {
    const mode_t before = mode_of(path);
    for (const mode_t bit : {0002u, 0020u}) {
      set_mode(path, before | bit);
      EXPECT_TRUE(contains(doubt(), path.string() + " may be written by others")) << doubt();
    }
    set_mode(path, before);
    EXPECT_EQ(doubt(), "");
  }
  set_mode(file, 01666);
  EXPECT_NE(doubt(), "") << "the sticky bit says nothing of a file itself";
}

TEST_F(OwnershipTest, IsInDoubtWhereSomebodyElseIsTheOwner) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  for (const fs::path& path : {file, folder / "a/b", folder / "a"}) {
    ASSERT_TRUE(give(path, kSomebody));
    EXPECT_TRUE(contains(doubt(), path.string() + " belongs to user 12345")) << doubt();
    EXPECT_EQ(doubt(kSomebody), "") << "unless that one is trusted, too";
    ASSERT_TRUE(give(path, 0));
  }
}

TEST_F(OwnershipTest, IsThatOfWhatALinkLeadsTo) {
  fs::create_directory_symlink(folder / "a", folder / "link");
  EXPECT_EQ(ownership_of(folder / "link/b/file").doubt, "");
  EXPECT_EQ(ownership_of(folder / "link/b/file").real, fs::canonical(file));
  set_mode(folder / "a/b", 0777);
  EXPECT_NE(ownership_of(folder / "link/b/file").doubt, "");
}

TEST_F(OwnershipTest, IsInDoubtForWhatIsNotThereOrLeadsNowhere) {
  EXPECT_TRUE(contains(ownership_of(folder / "none").doubt, "none: No such file"));
  fs::create_symlink("loop", folder / "loop");
  EXPECT_NE(ownership_of(folder / "loop").doubt, "");
}

TEST_F(OwnershipTest, OfRootsFilesIsNotInDoubtForAnOrdinaryUser) {
  if (geteuid() != 0) GTEST_SKIP() << "there is no file of root's to look at";
  EXPECT_TRUE(testing::as_ordinary_user([&] { return doubt().empty(); }));
}

TEST(PrivateFolders, AreForTheirUserAloneWhateverTheUmask) {
  const TempFolder folder;
  const mode_t before = umask(0);
  create_private_folder(folder / "a/b/c", "tests", "try another");
  umask(before);
  for (const char* name : {"a", "a/b", "a/b/c"}) EXPECT_EQ(mode_of(folder / name), 0700u) << name;
  create_private_folder(folder / "a/b/c", "tests", "try another");  // there already
  set_mode(folder / "a", 0755);
  create_private_folder(folder / "a/d/", "tests", "try another");
  EXPECT_EQ(mode_of(folder / "a"), 0755u) << "what is there keeps its mode";
}

TEST(PrivateFolders, ThatCannotBeAreNamed) {
  const TempFolder folder;
  testing::write_file(folder / "file", "x");
  fs::create_symlink(folder / "nowhere", folder / "dangling");
  for (const char* name : {"file", "file/below", "dangling"}) {
    const Error e = caught([&] { create_private_folder(folder / name, "tests", "try another"); });
    EXPECT_EQ(e.kind(), ErrorKind::kIo);
    EXPECT_TRUE(contains(e.what(), name) && contains(e.what(), "try another")) << e.what();
  }
}

TEST(OwnFiles, AreReadUpToTheirLimit) {
  const TempFolder folder;
  testing::write_file(folder / "file", "words");
  EXPECT_EQ(read_own_file(folder / "file", 5), "words");
  EXPECT_EQ(read_own_file(folder / "file", 4), std::nullopt);
  EXPECT_TRUE(own_file_begins_with(folder / "file", "wor"));
  EXPECT_FALSE(own_file_begins_with(folder / "file", "words and more"));
  EXPECT_FALSE(own_file_begins_with(folder / "file", "sword"));
}

TEST(OwnFiles, AreNoLinksPipesFoldersOrDevicesAndNothingIsWaitedFor) {
  const TempFolder folder;
  testing::write_file(folder / "file", "words");
  fs::create_symlink("file", folder / "link");
  fs::create_symlink("endless", folder / "endless");
  fs::create_directory(folder / "folder");
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  const auto start = std::chrono::steady_clock::now();
  for (const char* name : {"link", "endless", "folder", "pipe", "none"}) {
    EXPECT_EQ(read_own_file(folder / name, 100), std::nullopt) << name;
    EXPECT_FALSE(own_file_begins_with(folder / name, "")) << name;
  }
  EXPECT_EQ(read_own_file("/dev/zero", 100), std::nullopt);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(OwnFiles, AreNotThoseOfOthersOrThatOthersMayWrite) {
  const TempFolder folder;
  testing::write_file(folder / "file", "words");
  for (const mode_t mode : {0620u, 0602u, 0666u}) {
    set_mode(folder / "file", mode);
    EXPECT_EQ(read_own_file(folder / "file", 100), std::nullopt) << mode;
  }
  set_mode(folder / "file", 0644);
  EXPECT_EQ(read_own_file(folder / "file", 100), "words");
  EXPECT_EQ(read_own_file(folder / "file", 100, kOthersMayAnything), std::nullopt) << "others may read it";
  if (geteuid() == 0) {
    ASSERT_TRUE(give(folder / "file", kSomebody));
    EXPECT_EQ(read_own_file(folder / "file", 100), std::nullopt);
  }
}

}  // namespace
}  // namespace flashtune
