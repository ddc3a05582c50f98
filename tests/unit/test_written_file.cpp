// Files written as a whole: in sight when they are complete, with the rights they had, and with every error told.
#include "cache/written_file.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::contains;
using testing::TempFolder;

WriteErrand errand(const std::filesystem::path& path) { return {"the test", path, "try another"}; }

mode_t mode_of(const std::filesystem::path& path) {
  struct stat facts {};
  EXPECT_EQ(stat(path.c_str(), &facts), 0) << path;
  return facts.st_mode & 07777u;
}

TEST(TemporaryFile, IsInSightUnderItsNameWhenItIsWhole) {
  const TempFolder folder;
  testing::write_file(folder / "file", "old");
  TemporaryFile file(folder.path(), errand(folder / "file"));
  file.write("new ");
  file.write("words");
  EXPECT_EQ(testing::read_file(folder / "file"), "old");
  file.publish(folder / "file");
  EXPECT_EQ(testing::read_file(folder / "file"), "new words");
  EXPECT_EQ(testing::files_of(folder.path()), "file");
}

TEST(TemporaryFile, TakesANewNameAndLeavesOneThatSomebodyHas) {
  const TempFolder folder;
  {
    TemporaryFile first(folder.path(), errand(folder / "file")), second(folder.path(), errand(folder / "file"));
    first.write("first");
    second.write("second");
    EXPECT_TRUE(first.publish_as_new(folder / "file"));
    EXPECT_FALSE(second.publish_as_new(folder / "file"));
  }
  EXPECT_EQ(testing::read_file(folder / "file"), "first");
  EXPECT_EQ(testing::files_of(folder.path()), "file");
}

TEST(TemporaryFile, LeavesNothingWhenItGoesUnpublished) {
  const TempFolder folder;
  { TemporaryFile(folder.path(), errand(folder / "file")).write("half"); }
  EXPECT_EQ(testing::files_of(folder.path()), "");
}

TEST(TemporaryFile, HasANameThatNobodyElseChooses) {
  const TempFolder folder;
  const TemporaryFile one(folder.path(), errand(folder / "a")), two(folder.path(), errand(folder / "a"));
  EXPECT_NE(one.path(), two.path());
  for (const TemporaryFile* file : {&one, &two}) {
    EXPECT_TRUE(TemporaryFile::is_name(file->path().filename().string()));
    EXPECT_FALSE(TemporaryFile::is_name(file->path().filename().string() + "x"));
  }
  for (const char* other : {"", "thesis.txt", ".flashtune-.tmp", ".flashtune-1.tmp", ".flashtune-12-00.tmp", ".tmp",
                            ".flashtune-x-0123456789abcdef.tmp", ".flashtune-1-0123456789abcdeg.tmp", "1234-0",
                            "flashtune-1-0123456789abcdef.tmp", ".flashtune-1-0123456789abcdef"})
    EXPECT_FALSE(TemporaryFile::is_name(other)) << other;
  EXPECT_TRUE(TemporaryFile::is_name(".flashtune-1-0123456789abcdef.tmp"));
}

TEST(TemporaryFile, GivesNewFilesTheRightsThatTheUmaskLeaves) {
  const TempFolder folder;
  const mode_t before = umask(027);
  for (const auto& [name, mode] : {std::pair("usual", 0666u), std::pair("secret", 0600u)})
    TemporaryFile(folder.path(), errand(folder / name), mode).publish(folder / name);
  umask(before);
  EXPECT_EQ(mode_of(folder / "usual"), 0640u);
  EXPECT_EQ(mode_of(folder / "secret"), 0600u);
}

TEST(TemporaryFile, TakesTheRightsOfTheFileItReplaces) {
  const TempFolder folder;
  for (const mode_t mode : {0600u, 0664u, 0666u, 0755u}) {
    testing::write_file(folder / "file", "old");
    chmod((folder / "file").c_str(), mode);
    struct stat old {};
    ASSERT_EQ(stat((folder / "file").c_str(), &old), 0);
    TemporaryFile file(folder.path(), errand(folder / "file"));
    file.take_after(old);
    file.publish(folder / "file");
    EXPECT_EQ(mode_of(folder / "file"), mode);
  }
}

TEST(TemporaryFile, KeepsTheOwnerWhereItMay) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  const TempFolder folder;
  struct stat old {
  }, now{};
  old.st_uid = 1234, old.st_gid = 4321, old.st_mode = S_IFREG | 0640u;
  TemporaryFile file(folder.path(), errand(folder / "file"));
  file.take_after(old);
  file.publish(folder / "file");
  ASSERT_EQ(stat((folder / "file").c_str(), &now), 0);
  EXPECT_EQ(now.st_uid, 1234u);
  EXPECT_EQ(now.st_gid, 4321u);
  EXPECT_EQ(now.st_mode & 07777u, 0640u);
}

TEST(TemporaryFile, LetsNoGroupDoMoreThanItCould) {
  const pid_t child = testing::start_child([] {
    const TempFolder folder;
    std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) return false;
    struct stat old {};
    old.st_uid = 1234, old.st_gid = 4321,
    old.st_mode = S_IFREG | 0674u;  // of people that this process cannot speak for
    TemporaryFile file(folder.path(), errand(folder / "file"));
    file.take_after(old);
    file.publish(folder / "file");
    return mode_of(folder / "file") == 0644;
  });
  EXPECT_TRUE(testing::ended_well(child));
}

TEST(TemporaryFile, SaysWhatCouldNotBeWrittenWhereAndWhy) {
  const TempFolder folder;
  try {
    TemporaryFile(folder / "nowhere", errand("out.json"));
    FAIL() << "there is no such folder";
  } catch (const WriteError& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_STREQ(error.what(), "cannot write the test to out.json: No such file or directory; try another");
  }
}

TEST(TemporaryFile, LeavesTheOldFileWhereThereIsNoRoom) {
  const pid_t child = testing::start_child([] {
    const TempFolder folder;
    testing::write_file(folder / "file", "old");
    signal(SIGXFSZ, SIG_IGN);  // then the write fails as on a full disk
    const rlimit small{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &small);
    int code = 0;
    try {
      TemporaryFile file(folder.path(), errand(folder / "file"));
      file.write(std::string(5000, 'x'));
      file.publish(folder / "file");
    } catch (const WriteError& error) {
      code = error.code();
    }
    return code == EFBIG && testing::read_file(folder / "file") == "old" && testing::files_of(folder.path()) == "file";
  });
  EXPECT_TRUE(testing::ended_well(child));
}

TEST(WrittenFile, IsNeverAStandardStream) {
  const pid_t child = testing::start_child([] {
    close(STDERR_FILENO);
    const TempFolder folder;
    TemporaryFile file(folder.path(), errand(folder / "file"));
    std::fprintf(stderr, "words that belong to no file\n");
    file.write("mine");
    file.publish(folder / "file");
    return testing::read_file(folder / "file") == "mine";
  });
  EXPECT_TRUE(testing::ended_well(child));
}

TEST(WrittenFile, TellsOfABrokenPipeAndLivesOn) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  WrittenFile file(ends[1], errand("pipe"));
  try {
    file.write("words");
    FAIL() << "nobody reads";
  } catch (const WriteError& error) {
    EXPECT_EQ(error.code(), EPIPE);
  }
  sigset_t pending;
  sigpending(&pending);
  EXPECT_FALSE(sigismember(&pending, SIGPIPE)) << "no signal is left for the program";
}

TEST(WrittenFile, WaitsForAReaderThatIsSlow) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK), 0);
  const std::string much(1 << 20, 'x');
  std::string got;
  std::thread reader([&] {
    char some[65536];
    fcntl(ends[0], F_SETFL, 0);
    for (ssize_t n; (n = read(ends[0], some, sizeof some)) > 0;) got.append(some, static_cast<std::size_t>(n));
  });
  WrittenFile file(ends[1], errand("pipe"));
  file.write(much);
  file.finish();
  reader.join();
  EXPECT_TRUE(got == much);
  close(ends[0]);
}

}  // namespace
}  // namespace flashtune
