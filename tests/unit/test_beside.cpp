// Files that flashtune makes beside others: what has their name stays, wherever it leads.
#include "cache/beside.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;
using testing::caught;
using testing::contains;
using testing::read_file;
using testing::TempFolder;

fs::path keep_text(const fs::path& file, const std::string& text) {
  return keep_beside(file, ".bak", "a copy", [&](TemporaryFile& kept) { kept.write(text); });
}

TEST(Beside, TakesTheFirstNameThatNothingHas) {
  const TempFolder folder;
  const fs::path file = folder / "file";
  EXPECT_EQ(free_name_beside(file, ".bak"), folder / "file.bak");
  testing::write_file(folder / "file.bak", "");
  EXPECT_EQ(free_name_beside(file, ".bak"), folder / "file.bak.2");
  fs::create_directory(folder / "file.bak.2");
  EXPECT_EQ(free_name_beside(file, ".bak"), folder / "file.bak.3");
  EXPECT_EQ(mkfifo((folder / "file.bak.3").c_str(), 0600), 0);
  fs::create_symlink("nowhere", folder / "file.bak.4");
  fs::create_symlink("file.bak.5", folder / "file.bak.5");
  EXPECT_EQ(free_name_beside(file, ".bak"), folder / "file.bak.6");
}

TEST(Beside, ANameIsTakenByAJournalThatWouldBeReadWithIt) {
  for (const char* part : {"-journal", "-wal", "-shm"}) {
    const TempFolder folder;
    fs::create_symlink("nowhere", folder / (std::string("file.bak") + part));
    EXPECT_EQ(free_name_beside(folder / "file", ".bak"), folder / "file.bak.2") << part;
  }
}

TEST(Beside, WritesThroughNoLinkAndReplacesNothing) {
  const TempFolder folder;
  testing::write_file(folder / "file", "the file");
  testing::write_file(folder / "precious", "precious");
  fs::create_symlink("made", folder / "file.bak");
  fs::create_symlink("precious", folder / "file.bak.2");
  EXPECT_EQ(keep_text(folder / "file", "a copy"), folder / "file.bak.3");
  EXPECT_EQ(read_file(folder / "file.bak.3"), "a copy");
  EXPECT_EQ(testing::files_of(folder.path()), "file file.bak file.bak.2 file.bak.3 precious");
  EXPECT_EQ(read_file(folder / "precious"), "precious");
}

TEST(Beside, LeavesWhatTakesTheNameMeanwhile) {
  const TempFolder folder;
  testing::write_file(folder / "file", "the file");
  const fs::path name = keep_beside(folder / "file", ".bak", "a copy", [&](TemporaryFile& kept) {
    kept.write("a copy");
    fs::create_symlink("made", folder / "file.bak");
    testing::write_file(folder / "file.bak.2", "somebody's");
  });
  EXPECT_EQ(name, folder / "file.bak.3");
  EXPECT_EQ(read_file(folder / "file.bak.2"), "somebody's");
  EXPECT_EQ(testing::files_of(folder.path()), "file file.bak file.bak.2 file.bak.3");
}

TEST(Beside, TellsNobodyMoreThanTheFileDoes) {
  for (const mode_t mode : {0600u, 0640u, 0664u}) {
    const TempFolder folder;
    testing::write_file(folder / "file", "the file");
    ASSERT_EQ(chmod((folder / "file").c_str(), mode), 0);
    struct stat facts {};
    keep_beside(folder / "file", ".bak", "a copy", [&](const TemporaryFile& kept) {
      ASSERT_EQ(stat(kept.path().c_str(), &facts), 0);
      EXPECT_EQ(facts.st_mode & 0777u, 0600u) << "while it is written";
    });
    ASSERT_EQ(stat((folder / "file.bak").c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777u, mode);
  }
}

TEST(Beside, LeavesNothingWhereItFails) {
  const TempFolder folder;
  testing::write_file(folder / "file", "the file");
  const auto fail = [](TemporaryFile& kept) {
    kept.write("half");
    throw Error(ErrorKind::kIo, "no more");
  };
  EXPECT_STREQ(caught([&] { keep_beside(folder / "file", ".bak", "a copy", fail); }).what(), "no more");
  EXPECT_EQ(testing::files_of(folder.path()), "file");
  const std::string why = caught([&] { keep_text(folder / "nowhere/file", "a copy"); }).what();
  EXPECT_TRUE(contains(why, "cannot write a copy to " + (folder / "nowhere/file.bak").string())) << why;
}

TEST(Beside, StandsBesideAFileOfTheCurrentFolder) {
  const TempFolder folder;
  EXPECT_TRUE(testing::ended_well(testing::start_child([&] {
    fs::current_path(folder.path());
    testing::write_file("file", "the file");
    return keep_text("file", "a copy") == "file.bak" && read_file("file.bak") == "a copy";
  })));
}

}  // namespace
}  // namespace flashtune
