// Outputs that people name: what is there stays what it is, and a file is never half of two.
#include "cache/named_output.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <future>
#include <ostream>
#include <tuple>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;
using testing::caught;
using testing::contains;
using testing::read_file;
using testing::TempFolder;

void write_text(const fs::path& path, const std::string& text) {
  write_named_output(path, "the test", [&](std::ostream& out) { out << text; });
}

struct stat facts_of(const fs::path& path) {
  struct stat facts {};
  EXPECT_EQ(lstat(path.c_str(), &facts), 0) << path;
  return facts;
}

mode_t mode_of(const fs::path& path) { return facts_of(path).st_mode & 07777u; }

/// Why a path cannot be written; the same is said before there is something to write.
std::string complaint(const fs::path& path) {
  const std::string before = caught([&] { require_named_output(path, "the test"); }).what();
  const std::string why = caught([&] { write_text(path, "new"); }).what();
  return before == why ? why : "said before: " + before.substr(0, 30);
}

/// Gives up what root may do, for good: of child processes.
bool become_nobody() {
  return geteuid() != 0 || (setgroups(0, nullptr) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
}

TEST(NamedOutput, MakesANewFileWithTheRightsThatTheUmaskLeaves) {
  const TempFolder folder;
  const mode_t before = umask(027);
  write_text(folder / "new", "words");
  umask(before);
  EXPECT_EQ(read_file(folder / "new"), "words");
  EXPECT_EQ(mode_of(folder / "new"), 0640u);
  EXPECT_EQ(testing::files_of(folder.path()), "new");
}

TEST(NamedOutput, ReplacesAFileAsAWholeAndKeepsItsMode) {
  const TempFolder folder;
  for (const mode_t mode : {0600u, 0640u, 0666u, 0755u}) {
    testing::write_file(folder / "file", "a longer text than the new one");
    chmod((folder / "file").c_str(), mode);
    const ino_t before = facts_of(folder / "file").st_ino;
    write_text(folder / "file", "new");
    EXPECT_EQ(read_file(folder / "file"), "new");
    EXPECT_EQ(mode_of(folder / "file"), mode);
    EXPECT_NE(facts_of(folder / "file").st_ino, before) << "readers of the old file read it to its end";
  }
  EXPECT_EQ(testing::files_of(folder.path()), "file");
}

TEST(NamedOutput, WritesMoreThanItsBufferInOrder) {
  const TempFolder folder;
  std::string all;
  write_named_output(folder / "file", "the test", [&](std::ostream& out) {
    all.clear();
    for (int i = 0; i < 3000; ++i) {
      const std::string part(static_cast<std::size_t>(i % 97), static_cast<char>('a' + i % 26));
      out << part << i << '\n';
      all += part + std::to_string(i) + '\n';
      if (i % 1000 == 0) {
        const std::string block(50000, 'x');
        out.write(block.data(), static_cast<std::streamsize>(block.size()));
        all += block;
      }
    }
  });
  EXPECT_TRUE(read_file(folder / "file") == all);
}

TEST(NamedOutput, FollowsLinksAndLeavesThem) {
  const TempFolder folder;
  fs::create_directory(folder / "elsewhere");
  testing::write_file(folder / "elsewhere/target", "old");
  chmod((folder / "elsewhere/target").c_str(), 0600);
  fs::create_symlink("elsewhere/target", folder / "link");
  fs::create_symlink("link", folder / "link_to_link");
  fs::create_directory_symlink("elsewhere", folder / "folder_link");
  for (const char* name : {"link", "link_to_link", "folder_link/target"}) {
    write_text(folder / name, name);
    EXPECT_EQ(read_file(folder / "elsewhere/target"), name);
    EXPECT_EQ(mode_of(folder / "elsewhere/target"), 0600u);
  }
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_TRUE(fs::is_symlink(folder / "link_to_link"));
  EXPECT_EQ(testing::files_of(folder / "elsewhere"), "target");
}

TEST(NamedOutput, MakesWhatADanglingLinkPointsTo) {
  const TempFolder folder;
  fs::create_directory(folder / "elsewhere");
  fs::create_symlink("elsewhere/made", folder / "link");
  write_text(folder / "link", "words");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "elsewhere/made"), "words");
  fs::create_symlink("nowhere/made", folder / "lost");
  EXPECT_TRUE(contains(complaint(folder / "lost"), "No such file or directory"));
}

TEST(NamedOutput, RefusesALinkToItself) {
  const TempFolder folder;
  fs::create_symlink("loop", folder / "loop");
  EXPECT_TRUE(contains(complaint(folder / "loop"), "Too many levels of symbolic links"));
  EXPECT_TRUE(fs::remove(folder / "loop"));
}

TEST(NamedOutput, WritesIntoAFifo) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  fs::create_symlink("fifo", folder / "link");
  for (const char* name : {"fifo", "link"}) {
    auto reader = std::async(std::launch::async, [&] { return read_file(folder / "fifo"); });
    const std::string much(200000, name[0]);
    write_text(folder / name, much);
    EXPECT_TRUE(reader.get() == much);
    EXPECT_TRUE(fs::is_fifo(folder / "fifo"));
  }
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
}

TEST(NamedOutput, SaysThatAFifosReaderIsGone) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  auto reader = std::async(std::launch::async, [&] {
    const int fd = open((folder / "fifo").c_str(), O_RDONLY);
    char byte = 0;
    EXPECT_EQ(read(fd, &byte, 1), 1);
    close(fd);
  });
  const std::string why = caught([&] { write_text(folder / "fifo", std::string(1 << 20, 'x')); }).what();
  EXPECT_TRUE(contains(why, "cannot write the test to " + (folder / "fifo").string() + ": Broken pipe")) << why;
}

TEST(NamedOutput, GoesOnWhereAnOpenDescriptorIs) {
  const TempFolder folder;
  const int fd = open((folder / "file").c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_GE(fd, 0);
  const std::string number = std::to_string(fd);
  ASSERT_EQ(write(fd, "before ", 7), 7);
  fs::create_symlink("/dev/fd/" + number, folder / "link");
  for (const std::string& name : {"/dev/fd/" + number, "/proc/self/fd/" + number, (folder / "link").string(),
                                  "/proc/" + std::to_string(getpid()) + "/fd/" + number})
    write_text(name, "words ");
  ASSERT_EQ(write(fd, "after", 5), 5) << "it is still open";
  close(fd);
  EXPECT_EQ(read_file(folder / "file"), "before words words words words after");
  EXPECT_TRUE(contains(complaint("/dev/fd/" + number), "Bad file descriptor"));
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
}

TEST(NamedOutput, KeepsTheOtherNamesOfAFile) {
  const TempFolder folder;
  testing::write_file(folder / "one", "a longer text than the new one");
  fs::create_hard_link(folder / "one", folder / "two");
  write_text(folder / "one", "new");
  EXPECT_EQ(read_file(folder / "two"), "new");
  EXPECT_EQ(facts_of(folder / "one").st_nlink, 2u);
}

TEST(NamedOutput, RefusesFoldersAndSockets) {
  const TempFolder folder;
  fs::create_directory(folder / "sub");
  fs::create_directory_symlink("sub", folder / "link");
  for (const char* name : {"sub", "sub/", "sub/.", "link", "nothing/"})
    EXPECT_TRUE(contains(complaint(folder / name), "irectory")) << name;
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (folder / "socket").string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_TRUE(contains(complaint(folder / "socket"), "it is a socket"));
  EXPECT_TRUE(fs::is_socket(folder / "socket"));
  close(listener);
  EXPECT_TRUE(contains(complaint(""), "No such file"));
  EXPECT_TRUE(contains(complaint(folder / "nowhere/file"), "No such file or directory"));
}

TEST(NamedOutput, KeepsADatabaseByWhicheverName) {
  const TempFolder folder;
  const std::string database("SQLite format 3\0and what people measured", 40);
  testing::write_file(folder / "tuning.db", database);
  fs::create_symlink("tuning.db", folder / "link");
  fs::create_hard_link(folder / "tuning.db", folder / "other");
  for (const char* name : {"tuning.db", "link", "other"})
    EXPECT_TRUE(contains(complaint(folder / name), "it is a database")) << name;
  EXPECT_EQ(read_file(folder / "tuning.db"), database);
}

TEST(NamedOutput, RefusesAWriteProtectedFile) {
  const pid_t child = testing::start_child([] {
    const TempFolder folder;
    fs::permissions(folder.path(), fs::perms::all);
    testing::write_file(folder / "file", "old");
    chmod((folder / "file").c_str(), 0444);
    if (!become_nobody()) return false;
    const std::string why = complaint(folder / "file");
    return contains(why, "it is write-protected") && read_file(folder / "file") == "old";
  });
  EXPECT_TRUE(testing::ended_well(child));
}

TEST(NamedOutput, WritesAFileThatMayBeWrittenInAFolderThatMayNot) {
  const pid_t child = testing::start_child([] {
    const TempFolder folder;
    testing::write_file(folder / "file", "a longer text than the new one");
    chmod((folder / "file").c_str(), 0666);
    fs::permissions(folder.path(), fs::perms(0555));
    if (!become_nobody()) return false;
    const ino_t before = facts_of(folder / "file").st_ino;
    write_text(folder / "file", "new");
    return read_file(folder / "file") == "new" && facts_of(folder / "file").st_ino == before &&
           contains(complaint(folder / "other"), "Permission denied");
  });
  EXPECT_TRUE(testing::ended_well(child));
}

TEST(NamedOutput, WritesAFileOfSomebodyElseInAStickyFolder) {
  if (geteuid() != 0) GTEST_SKIP() << "needs files of two users";
  const pid_t child = testing::start_child([] {
    const TempFolder folder;
    fs::permissions(folder.path(), fs::perms(01777));
    testing::write_file(folder / "file", "old");
    chmod((folder / "file").c_str(), 0666);
    if (!become_nobody()) return false;
    write_text(folder / "file", "new");  // which nobody may rename here
    return read_file(folder / "file") == "new" && testing::files_of(folder.path()) == "file";
  });
  EXPECT_TRUE(testing::ended_well(child));
}

TEST(NamedOutput, LeavesTheOldFileWhereThereIsNoRoomForTheNewOne) {
  const pid_t child = testing::start_child([] {
    const TempFolder folder;
    testing::write_file(folder / "file", "old");
    signal(SIGXFSZ, SIG_IGN);  // then the write fails as on a full disk
    const rlimit small{100000, 100000};
    setrlimit(RLIMIT_FSIZE, &small);
    for (const std::size_t size : {100001u, 500000u})
      if (!contains(caught([&] { write_text(folder / "file", std::string(size, 'x')); }).what(), "File too large"))
        return false;
    return read_file(folder / "file") == "old" && testing::files_of(folder.path()) == "file";
  });
  EXPECT_TRUE(testing::ended_well(child));
}

TEST(NamedOutput, MayBeTheInputByAnotherName) {
  const TempFolder folder;
  testing::write_file(folder / "input", "old");
  fs::create_symlink("input", folder / "link");
  std::ifstream in(folder / "input");
  write_named_output(folder / "link", "the test", [&](std::ostream& out) {
    std::string word;
    in >> word;
    out << word << " and new";
  });
  EXPECT_EQ(read_file(folder / "input"), "old and new");
}

TEST(NamedOutput, IsJudgedBeforehandWithoutATrace) {
  const TempFolder folder;
  fs::create_directory(folder / "elsewhere");
  testing::write_file(folder / "file", "old");
  chmod((folder / "file").c_str(), 0640);
  fs::create_symlink("elsewhere/made", folder / "link");
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  const struct stat before = facts_of(folder / "file");
  const int fd = open((folder / "opened").c_str(), O_WRONLY | O_CREAT, 0600);
  for (const fs::path& path : {folder / "new", folder / "file", folder / "link", folder / "opened",
                               folder / "fifo",  // which nobody reads: opening it would wait for ever
                               fs::path("/dev/fd/" + std::to_string(fd))})
    EXPECT_NO_THROW(require_named_output(path, "the test")) << path;
  close(fd);
  EXPECT_EQ(testing::files_of(folder.path()), "fifo file link opened");
  EXPECT_EQ(read_file(folder / "file"), "old");
  const struct stat after = facts_of(folder / "file");
  EXPECT_EQ(std::tie(before.st_ino, before.st_mode, before.st_mtim.tv_nsec, before.st_ctim.tv_nsec),
            std::tie(after.st_ino, after.st_mode, after.st_mtim.tv_nsec, after.st_ctim.tv_nsec));
}

TEST(NamedOutput, RefusesWhatIsOpenForReadingAlone) {
  const TempFolder folder;
  testing::write_file(folder / "file", "old");
  const int fd = open((folder / "file").c_str(), O_RDONLY);
  EXPECT_TRUE(contains(complaint("/dev/fd/" + std::to_string(fd)), "it is open for reading alone"));
  close(fd);
}

TEST(NamedOutput, RefusesAFolderThatTakesNoFiles) {
  // Root may do anything there, says its mode; the file system does not.
  EXPECT_TRUE(contains(complaint("/proc/file"), "cannot write the test to /proc/file: "));
  const pid_t child = testing::start_child([] {
    const TempFolder folder;
    if (mkfifo((folder / "fifo").c_str(), 0400) != 0) return false;
    fs::permissions(folder.path(), fs::perms(0555));
    if (!become_nobody()) return false;
    return contains(complaint(folder / "new"), "Permission denied") &&
           contains(complaint(folder / "fifo"), "it is write-protected");
  });
  EXPECT_TRUE(testing::ended_well(child));
}

TEST(NamedOutput, TakesNamesAsLongAsTheDiskDoes) {
  const TempFolder folder;
  const std::string longest(255, 'n');
  write_text(folder / longest, "words");
  EXPECT_EQ(read_file(folder / longest), "words");
  EXPECT_TRUE(contains(complaint(folder / (longest + "n")), "File name too long"));
}

}  // namespace
}  // namespace flashtune
