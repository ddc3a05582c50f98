// Compiled kernels on disk: round trips, damage, forgery, full disks, limits, and processes that race.
#include "cache/cubin_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "cache/keys.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;
using testing::caught;
using testing::contains;
using testing::TempFolder;

const std::string kKey = digest_of("a key"), kOther = digest_of("another key");
const std::string kSecret = ".flashtune-secret";

StoredCubin sample_entry(char fill = 'c', std::size_t size = 100000) {
  std::string cubin(size, fill);
  cubin[size / 2] = '\0';
  cubin[size / 3] = '\n';
  return {cubin, "ptxas info: 0 bytes spill stores\nand more"};
}

fs::path file_of(const fs::path& folder, const std::string& key = kKey) { return folder / (key + ".cubin"); }

mode_t mode_of(const fs::path& path) {
  struct stat facts {};
  EXPECT_EQ(stat(path.c_str(), &facts), 0) << path;
  return facts.st_mode & 07777u;
}

TEST(CubinStore, ReadsBackWhatWasPut) {
  const TempFolder folder;
  const CubinStore store(folder / "a/b/cubins");
  const std::string empty = digest_of("empty");
  EXPECT_EQ(store.get(kKey), std::nullopt);
  const StoredCubin other = sample_entry('x', 3);
  store.put(kKey, sample_entry());
  store.put(kOther, other);
  store.put(empty, {});
  EXPECT_EQ(store.get(kKey), sample_entry());
  EXPECT_EQ(CubinStore(folder / "a/b/cubins").get(kOther), other);
  EXPECT_EQ(store.get(empty), StoredCubin{});
  store.put(kKey, other);
  EXPECT_EQ(store.get(kKey), other) << "a second put replaces the entry";
  EXPECT_EQ(cubins_in(store.folder()).size(), 3u);
}

TEST(CubinStore, IsForItsUserAloneWhateverTheUmask) {
  const TempFolder folder;
  const mode_t before = umask(0);
  CubinStore(folder / "cubins").put(kKey, sample_entry());
  umask(before);
  EXPECT_EQ(mode_of(folder / "cubins"), 0700u);
  EXPECT_EQ(mode_of(file_of(folder / "cubins")), 0600u);
}

TEST(CubinStore, ServesNothingDamagedAndWritesItAnew) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put(kKey, sample_entry());
  const fs::path file = file_of(folder.path());
  const std::string good = testing::read_file(file);
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  std::string renamed_digit = good;
  renamed_digit[good.find("100000")] = '2';
  for (const std::string& bad : {flipped, renamed_digit, good.substr(0, good.size() - 1), good + "x", std::string(),
                                 "flashtune-cubin 1 " + kKey + "\n", std::string("flashtune-cubin \n"),
                                 "flashtune-cubin " + std::string(5000, ' ')}) {
    testing::write_file(file, bad);
    EXPECT_EQ(store.get(kKey), std::nullopt) << bad.substr(0, 60);
    EXPECT_EQ(testing::read_file(file), bad) << "reading changes nothing";
    store.put(kKey, sample_entry());
    EXPECT_EQ(store.get(kKey), sample_entry());
  }
}

TEST(CubinStore, DoesNotServeTheEntryOfAnotherKey) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put(kKey, sample_entry());
  fs::rename(file_of(folder.path()), file_of(folder.path(), kOther));
  EXPECT_EQ(store.get(kOther), std::nullopt);
}

TEST(CubinStore, DoesNotServeWhatWasSealedElsewhere) {
  const TempFolder folder, elsewhere;
  const CubinStore store(folder.path());
  store.put(kOther, sample_entry());
  CubinStore(elsewhere.path()).put(kKey, sample_entry('f'));
  fs::copy_file(file_of(elsewhere.path()), file_of(folder.path()));
  EXPECT_EQ(store.get(kKey), std::nullopt) << "its bytes are whole, and their seal is another secret's";
  fs::copy_file(elsewhere / kSecret, folder / kSecret, fs::copy_options::overwrite_existing);
  EXPECT_EQ(store.get(kKey), sample_entry('f')) << "it was for its seal alone";
  fs::remove(folder / kSecret);
  EXPECT_EQ(store.get(kKey), std::nullopt);
}

TEST(CubinStore, DoesNotServeAnEntryThatOnlyHasTheDigestOfItsBytes) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put(kOther, sample_entry());
  const std::string cubin = "foreign code", sizes = " 12 0\n";
  for (const std::string version : {"1", "2"}) {
    testing::write_file(file_of(folder.path()),
                        "flashtune-cubin " + version + " " + kKey + " " + digest_of(cubin) + sizes + cubin);
    EXPECT_EQ(store.get(kKey), std::nullopt) << version;
  }
}

TEST(CubinStore, TakesWhateverElseHasAnEntrysNameForNoneAndLeavesItAlone) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put(kOther, sample_entry());
  const fs::path path = file_of(folder.path());
  testing::write_file(folder / "target", "flashtune-cubin words of mine");
  const auto meets = [&](const char* what) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(store.get(kKey), std::nullopt) << what;
    const Error e = caught([&] { store.put(kKey, sample_entry()); });
    EXPECT_EQ(e.kind(), ErrorKind::kIo) << what;
    EXPECT_TRUE(contains(e.what(), path.string())) << e.what();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << what;
    EXPECT_TRUE(fs::exists(fs::symlink_status(path))) << what;
    fs::remove(path);
  };
  fs::create_directory(path);
  meets("a folder");
  fs::create_symlink(path.filename(), path);
  meets("an endless link");
  fs::create_symlink(folder / "target", path);
  meets("a link to a file");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  meets("a pipe");
  testing::write_file(path, "words of mine");
  EXPECT_EQ(store.get(kKey), std::nullopt);
  EXPECT_EQ(testing::read_file(path), "words of mine");
  meets("a file of somebody's");
  EXPECT_EQ(testing::read_file(folder / "target"), "flashtune-cubin words of mine");
  store.put(kKey, sample_entry());
  EXPECT_EQ(store.get(kKey), sample_entry());
}

TEST(CubinStore, DoesNotServeAnEntryThatOthersMayWrite) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put(kKey, sample_entry());
  chmod(file_of(folder.path()).c_str(), 0666);
  EXPECT_EQ(store.get(kKey), std::nullopt);
  chmod(file_of(folder.path()).c_str(), 0600);
  EXPECT_EQ(store.get(kKey), sample_entry());
}

TEST(CubinStore, IsNotWhereOthersMayWrite) {
  const TempFolder folder;
  for (const auto& [name, mode] : {std::pair("all", 0777u), std::pair("group", 0775u), std::pair("sticky", 01777u)}) {
    fs::create_directory(folder / name);
    chmod((folder / name).c_str(), mode);
    const Error e = caught([&] { CubinStore(folder / name); });
    EXPECT_EQ(e.kind(), ErrorKind::kIo) << name;
    EXPECT_TRUE(contains(e.what(), (folder / name).string()) && contains(e.what(), "may be written by others"))
        << e.what();
    EXPECT_NE(why_unfit_for_cubins(folder / name), "");
    EXPECT_EQ(mode_of(folder / name), mode) << "it stays as it is";
  }
  fs::create_directory_symlink(folder / "all", folder / "link");
  EXPECT_EQ(caught([&] { CubinStore(folder / "link"); }).kind(), ErrorKind::kIo) << "nor where a link leads there";
  EXPECT_EQ(caught([&] { CubinStore(folder / "all/below"); }).kind(), ErrorKind::kIo) << "nor below such a folder";
  EXPECT_EQ(why_unfit_for_cubins(folder / "not there yet"), "");
}

TEST(CubinStore, IsNotInTheFolderOfAnother) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives folders away";
  const TempFolder folder;
  fs::create_directory(folder / "theirs");
  ASSERT_EQ(chown((folder / "theirs").c_str(), 12345, 12345), 0);
  EXPECT_TRUE(contains(caught([&] { CubinStore(folder / "theirs"); }).what(), "belongs to user 12345"));
  fs::create_directory(folder / "roots");
  EXPECT_TRUE(testing::as_ordinary_user(
      [&] { return contains(caught([&] { CubinStore(folder / "roots"); }).what(), "belongs to root"); }));
}

TEST(CubinStore, ServesWhereALinkLeadsToAFolderOfItsUser) {
  const TempFolder folder;
  fs::create_directory(folder / "large disk");
  fs::create_directory_symlink(folder / "large disk", folder / "cubins");
  CubinStore(folder / "cubins").put(kKey, sample_entry());
  EXPECT_EQ(CubinStore(folder / "cubins").get(kKey), sample_entry());
  EXPECT_TRUE(fs::exists(file_of(folder / "large disk")));
}

TEST(CubinStore, RefusesKeysThatAreNoDigests) {
  const TempFolder folder;
  const CubinStore store(folder / "store");
  for (const std::string& key : {std::string(), std::string("../escape"), std::string("a/b"), std::string("."),
                                 std::string(32, 'g'), std::string(32, 'A'), std::string(31, 'a')}) {
    EXPECT_THROW(store.put(key, sample_entry()), Error) << key;
    EXPECT_THROW(store.get(key), Error) << key;
  }
  EXPECT_EQ(testing::files_of(folder.path()), "");
}

TEST(CubinStore, LeavesNoPartialFileAndTheOlderEntryWhenTheDiskIsFull) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put(kKey, sample_entry('s', 100));
  const bool refused = testing::ended_well(testing::start_child([&] {
    signal(SIGXFSZ, SIG_IGN);  // then a write past the limit fails as one on a full disk does
    const rlimit limit{20000, 20000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
    for (const std::string& key : {kKey, kOther}) {
      const Error e = caught([&] { store.put(key, sample_entry()); });
      if (e.kind() != ErrorKind::kIo || !contains(e.what(), folder.path().string()) || !contains(e.what(), "space"))
        return false;
    }
    return store.get(kOther) == std::nullopt;
  }));
  EXPECT_TRUE(refused);
  EXPECT_EQ(testing::files_of(folder.path()), kSecret + " " + kKey + ".cubin");
  EXPECT_EQ(store.get(kKey), sample_entry('s', 100));
}

TEST(CubinStore, ServesAFolderThatCannotBeWrittenAndSaysSoWhenAskedToPut) {
  const TempFolder folder;
  fs::create_directory(folder / "users");
  if (geteuid() == 0 && chown((folder / "users").c_str(), 65534, 65534) != 0) FAIL() << "root gives folders away";
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const fs::path shut = folder / "users/shut";
    CubinStore(shut).put(kKey, sample_entry());
    testing::write_file(file_of(shut, kOther), "flashtune-cubin x");
    fs::permissions(shut, fs::perms(0555));
    const CubinStore store(shut);
    const Error e = caught([&] { store.put(kOther, sample_entry()); });
    const Error below = caught([&] { CubinStore(shut / "new"); });
    const bool well = store.get(kKey) == sample_entry() && store.get(kOther) == std::nullopt &&
                      e.kind() == ErrorKind::kIo && contains(e.what(), "shut") && below.kind() == ErrorKind::kIo &&
                      contains(below.what(), (shut / "new").string());
    fs::permissions(shut, fs::perms(0700));
    return well;
  }));
}

TEST(CubinStore, RefusesAFileInPlaceOfItsFolder) {
  const TempFolder folder;
  testing::write_file(folder / "file", "x");
  EXPECT_EQ(caught([&] { CubinStore(folder / "file"); }).kind(), ErrorKind::kIo);
  EXPECT_EQ(testing::read_file(folder / "file"), "x");
}

TEST(CubinStore, ReadersOfTwoRacingWritersSeeWholeEntriesOnly) {
  const TempFolder folder;
  const auto writer = [&](char fill) {
    return testing::start_child([&folder, fill] {
      const CubinStore store(folder.path());
      for (int i = 0; i < 60; ++i) {
        store.put(kKey, sample_entry(fill));
        const std::optional<StoredCubin> entry = store.get(kKey);
        if (entry != sample_entry('a') && entry != sample_entry('b')) return false;  // whose it is does not matter
      }
      return true;
    });
  };
  const pid_t a = writer('a'), b = writer('b');
  EXPECT_TRUE(testing::ended_well(a));
  EXPECT_TRUE(testing::ended_well(b));
  EXPECT_EQ(testing::files_of(folder.path()), kSecret + " " + kKey + ".cubin");
}

TEST(CubinStore, NeverPassesItsLimitAndKeepsWhatIsUsed) {
  const TempFolder folder;
  constexpr std::uintmax_t kLimit = 1 << 20;
  const CubinStore store(folder.path(), kLimit);
  store.put(kKey, sample_entry());
  for (int i = 0; i < 40; ++i) {
    store.put(digest_of(std::to_string(i)), sample_entry());
    EXPECT_LE(bytes_of(cubins_in(folder.path())), kLimit);
    EXPECT_EQ(store.get(kKey), sample_entry()) << i;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // coarser than a file system's clock
  }
  EXPECT_GE(cubins_in(folder.path()).size(), 8u) << "no more goes than must";
  EXPECT_EQ(store.get(digest_of("39")), sample_entry());
  EXPECT_EQ(store.get(digest_of("0")), std::nullopt);
}

TEST(CubinStore, FitsAFolderThatHasPassedItsLimitWhenItFirstWrites) {
  const TempFolder folder;
  for (int i = 0; i < 20; ++i) CubinStore(folder.path()).put(digest_of(std::to_string(i)), sample_entry());
  CubinStore(folder.path(), 1 << 20).put(kKey, sample_entry());
  EXPECT_LE(bytes_of(cubins_in(folder.path())), std::uintmax_t{1} << 20);
}

TEST(CubinStore, KeepsNoKernelThatIsLargerThanItsLimit) {
  const TempFolder folder;
  const CubinStore store(folder.path(), 1 << 20);
  store.put(kKey, sample_entry());
  EXPECT_EQ(caught([&] { store.put(kOther, sample_entry('l', 2 << 20)); }).kind(), ErrorKind::kIo);
  EXPECT_EQ(store.get(kKey), sample_entry()) << "nothing has gone for it";
}

TEST(CubinStore, KeepsFilesThatItDidNotMake) {
  const TempFolder folder, elsewhere;
  const fs::file_time_type long_ago = fs::file_time_type::clock::now() - std::chrono::hours(200);
  const auto write = [&](const fs::path& path) {
    testing::write_file(path, "words of mine");
    fs::last_write_time(path, long_ago);
  };
  fs::create_directory(folder / "tmp");
  fs::create_directory_symlink(elsewhere.path(), folder / "linked");
  for (const char* name : {"thesis.txt", "tmp/thesis.txt", "tmp/1234-0", "my.cubin"}) write(folder / name);
  write(elsewhere / "thesis.txt");
  write(elsewhere / ".flashtune-1-0123456789abcdef.tmp");
  const CubinStore store(folder.path(), 1 << 20);
  for (int i = 0; i < 20; ++i) store.put(digest_of(std::to_string(i)), sample_entry());
  for (const char* name : {"thesis.txt", "tmp/thesis.txt", "tmp/1234-0", "my.cubin"})
    EXPECT_EQ(testing::read_file(folder / name), "words of mine") << name;
  EXPECT_EQ(testing::files_of(elsewhere.path()), ".flashtune-1-0123456789abcdef.tmp thesis.txt");
}

TEST(CubinStore, RemovesWhatKilledWritersLeft) {
  const TempFolder folder;
  const fs::path left = folder / ".flashtune-1-0123456789abcdef.tmp";
  testing::write_file(left, "half an entry");
  fs::last_write_time(left, fs::file_time_type::clock::now() - std::chrono::hours(2));
  CubinStore(folder.path()).put(kKey, sample_entry());
  EXPECT_FALSE(fs::exists(left));
}

TEST(CubinStore, LiesInTheCacheFolderOfTheUser) {
  EXPECT_EQ(default_cubin_folder("/cache", "/home/u"), "/cache/flashtune/cubins");
  EXPECT_EQ(default_cubin_folder(nullptr, "/home/u"), "/home/u/.cache/flashtune/cubins");
  EXPECT_EQ(default_cubin_folder("relative", "/home/u"), "/home/u/.cache/flashtune/cubins");
  EXPECT_EQ(default_cubin_folder("", ""), std::nullopt) << "a service may have no home";
}

}  // namespace
}  // namespace flashtune
