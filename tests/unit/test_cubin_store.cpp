// Compiled kernels on disk: round trips, damage, full disks, and processes that race.
#include "cache/cubin_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <chrono>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;
using testing::TempFolder;

StoredCubin sample_entry(char fill = 'c', std::size_t size = 100000) {
  std::string cubin(size, fill);
  cubin[size / 2] = '\0';
  cubin[size / 3] = '\n';
  return {cubin, "ptxas info: 0 bytes spill stores\nand more"};
}

TEST(CubinStore, ReadsBackWhatWasPut) {
  const TempFolder folder;
  const CubinStore store(folder / "a/b/cubins");
  EXPECT_EQ(store.get("k1"), std::nullopt);
  const StoredCubin other = sample_entry('x', 3);
  store.put("k1", sample_entry());
  store.put("k2", other);
  store.put("empty", {});
  EXPECT_EQ(store.get("k1"), sample_entry());
  EXPECT_EQ(CubinStore(folder / "a/b/cubins").get("k2"), other);
  EXPECT_EQ(store.get("empty"), StoredCubin{});
  store.put("k1", other);
  EXPECT_EQ(store.get("k1"), other) << "a second put replaces the entry";
  EXPECT_EQ(testing::files_of(store.folder()), "empty.cubin k1.cubin k2.cubin");
}

TEST(CubinStore, RemovesADamagedEntryAndServesNothing) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put("key", sample_entry());
  const std::filesystem::path file = folder / "key.cubin";
  const std::string good = testing::read_file(file);
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  std::string renamed_digit = good;
  renamed_digit[good.find("100000")] = '2';
  for (const std::string& bad : {flipped, renamed_digit, good.substr(0, good.size() - 1), good + "x", std::string(),
                                 std::string("flashtune-cubin 1 key\n"), std::string("\n"), std::string(5000, ' ')}) {
    testing::write_file(file, bad);
    EXPECT_EQ(store.get("key"), std::nullopt) << bad.substr(0, 60);
    EXPECT_FALSE(std::filesystem::exists(file)) << bad.substr(0, 60);
    store.put("key", sample_entry());
    EXPECT_EQ(store.get("key"), sample_entry());
  }
}

TEST(CubinStore, DoesNotServeTheEntryOfAnotherKey) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put("one", sample_entry());
  std::filesystem::rename(folder / "one.cubin", folder / "two.cubin");
  EXPECT_EQ(store.get("two"), std::nullopt);
}

TEST(CubinStore, RefusesKeysThatAreNoFileNames) {
  const TempFolder folder;
  const CubinStore store(folder / "store");
  for (const char* key : {"", "../escape", "a/b", "a b", "."}) {
    EXPECT_THROW(store.put(key, sample_entry()), Error) << key;
    EXPECT_THROW(store.get(key), Error) << key;
  }
  EXPECT_EQ(testing::files_of(folder.path()), "");
}

TEST(CubinStore, LeavesNoPartialFileWhenTheDiskIsFull) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put("small", sample_entry('s', 100));
  const bool refused = testing::ended_well(testing::start_child([&] {
    signal(SIGXFSZ, SIG_IGN);  // then a write past the limit fails as one on a full disk does
    const rlimit limit{20000, 20000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
    const Error e = caught([&] { store.put("large", sample_entry()); });
    return e.kind() == ErrorKind::kIo && contains(e.what(), folder.path().string()) && contains(e.what(), "space") &&
           store.get("large") == std::nullopt;
  }));
  EXPECT_TRUE(refused);
  EXPECT_EQ(testing::files_of(folder.path()), "small.cubin");
  EXPECT_EQ(store.get("small"), sample_entry('s', 100));
}

TEST(CubinStore, LeavesAnOlderEntryAloneWhenTheDiskIsFull) {
  const TempFolder folder;
  const CubinStore store(folder.path());
  store.put("key", sample_entry('s', 100));
  EXPECT_TRUE(testing::ended_well(testing::start_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20000, 20000};
    setrlimit(RLIMIT_FSIZE, &limit);
    return caught([&] { store.put("key", sample_entry()); }).kind() == ErrorKind::kIo;
  })));
  EXPECT_EQ(store.get("key"), sample_entry('s', 100));
}

TEST(CubinStore, ServesAFolderThatCannotBeWrittenAndSaysSoWhenAskedToPut) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "shut");
  CubinStore(folder / "shut").put("key", sample_entry());
  testing::write_file(folder / "shut/damaged.cubin", "x");
  std::filesystem::permissions(folder / "shut/tmp", std::filesystem::perms(0555));
  std::filesystem::permissions(folder / "shut", std::filesystem::perms(0555));
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const CubinStore store(folder / "shut");
    const Error e = caught([&] { store.put("other", sample_entry()); });
    return store.get("key") == sample_entry() && store.get("damaged") == std::nullopt && e.kind() == ErrorKind::kIo &&
           contains(e.what(), "shut");
  }));
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const Error e = caught([&] { CubinStore(folder / "shut/new"); });
    return e.kind() == ErrorKind::kIo && contains(e.what(), (folder / "shut/new").string());
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
        store.put("key", sample_entry(fill));
        const std::optional<StoredCubin> entry = store.get("key");
        if (entry != sample_entry('a') && entry != sample_entry('b')) return false;  // whose it is does not matter
      }
      return true;
    });
  };
  const pid_t a = writer('a'), b = writer('b');
  EXPECT_TRUE(testing::ended_well(a));
  EXPECT_TRUE(testing::ended_well(b));
  EXPECT_EQ(testing::files_of(folder.path()), "key.cubin");
}

TEST(CubinStore, RemovesWhatKilledWritersLeftButNotWhatOthersAreWriting) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "tmp");
  testing::write_file(folder / "tmp/old", "half an entry");
  testing::write_file(folder / "tmp/young", "half an entry");
  std::filesystem::last_write_time(folder / "tmp/old",
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(2));
  const CubinStore store(folder.path());
  EXPECT_EQ(testing::files_of(folder.path()), "tmp/young");
}

TEST(CubinStore, LiesInTheCacheFolderOfTheUser) {
  EXPECT_EQ(default_cubin_folder("/cache", "/home/u"), "/cache/flashtune/cubins");
  EXPECT_EQ(default_cubin_folder(nullptr, "/home/u"), "/home/u/.cache/flashtune/cubins");
  EXPECT_EQ(default_cubin_folder("relative", "/home/u"), "/home/u/.cache/flashtune/cubins");
  EXPECT_EQ(default_cubin_folder("", ""), std::nullopt) << "a service may have no home";
}

}  // namespace
}  // namespace flashtune
