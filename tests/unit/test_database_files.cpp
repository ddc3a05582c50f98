// The database as a file: other processes, sudden death, and files that are not what they should be.
#include "cache/database.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "cache/filesystem.h"
#include "cache/sqlite.h"
#include "tests/support/damaged_database.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;
using testing::sample_key;
using testing::sample_trial;
using testing::TempFolder;

// --- other processes

TEST(DatabaseProcesses, TwoCreateOneFileAndBothWriteAllTheirRows) {
  const TempFolder folder;
  const auto work = [&](int from) {
    return testing::start_child([&folder, from] {
      Database db = Database::open(folder / "tuning.db");
      for (int i = from; i < from + 150; ++i) {
        db.begin_attempt(sample_key(1));  // the same trial, by both
        db.finish(sample_trial(i));
      }
      return true;
    });
  };
  const pid_t a = work(1000), b = work(2000);
  EXPECT_TRUE(testing::ended_well(a));
  EXPECT_TRUE(testing::ended_well(b));
  const Database db = Database::open(folder / "tuning.db");
  EXPECT_EQ(db.trials().size(), 301u);
  EXPECT_EQ(db.find(sample_key(1))->attempts, 300) << "no attempt of the other process was overwritten";
  EXPECT_TRUE(db.check().empty());
}

TEST(DatabaseProcesses, KilledWhileWritingLosesNothingThatWasCommitted) {
  for (int round = 0; round < 3; ++round) {
    const TempFolder folder;
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = testing::start_child([&] {
      Database db = Database::open(folder / "tuning.db");
      for (int i = 0;; ++i) {
        Trial trial = db.begin_attempt(sample_key(i));
        if (write(pipe_ends[1], "b", 1) != 1) return false;
        trial.outcome = Outcome::kWrong;
        db.finish(trial);
        if (write(pipe_ends[1], "e", 1) != 1) return false;
      }
    });
    close(pipe_ends[1]);
    char word = 0;
    int begun = 0, ended = 0;
    const auto count = [&] { ++(word == 'b' ? begun : ended); };
    while (begun + ended < 201 + 100 * round && read(pipe_ends[0], &word, 1) == 1) count();
    ASSERT_EQ(kill(child, SIGKILL), 0);
    while (read(pipe_ends[0], &word, 1) == 1) count();  // what it said before it died
    close(pipe_ends[0]);
    EXPECT_FALSE(testing::ended_well(child));

    Database db = Database::open(folder / "tuning.db");
    EXPECT_TRUE(db.check().empty());
    RecordFilter wrong;
    wrong.outcome = Outcome::kWrong;
    const int stored_ends = static_cast<int>(db.trials(wrong).size());
    const int stored = static_cast<int>(db.trials().size());
    EXPECT_GE(begun, 100);
    EXPECT_GE(stored, begun);
    EXPECT_LE(stored, begun + 1);
    EXPECT_GE(stored_ends, ended);
    EXPECT_LE(stored_ends, ended + 1);
    if (stored > stored_ends) {
      EXPECT_EQ(db.begin_attempt(sample_key(stored - 1)).attempts, 2) << "found in flight";
    }
  }
}

TEST(DatabaseProcesses, AReaderSeesWhatAWriterCommitsMeanwhile) {
  const TempFolder folder;
  Database writer = Database::open(folder / "tuning.db");
  const Database reader = Database::open(folder / "tuning.db", Database::Mode::kReadOnly);
  EXPECT_TRUE(reader.trials().empty());
  writer.finish(sample_trial());
  EXPECT_EQ(reader.trials().size(), 1u);
}

// --- opening

TEST(OpenDatabase, UsesAWriteAheadLogOnALocalDisk) {
  const TempFolder folder;
  if (is_on_network(folder.path())) GTEST_SKIP() << folder.path() << " is on a network file system";
  Database::open(folder / "tuning.db");
  const Sqlite raw = Sqlite::open(folder / "tuning.db", Sqlite::Access::kReadWrite);
  EXPECT_EQ(std::get<std::string>(raw.query("PRAGMA journal_mode")[0][0]), "wal");
}

TEST(OpenDatabase, KnowsNetworkFileSystemsByTheirNumbers) {
  EXPECT_TRUE(is_network_magic(0x6969));                         // NFS
  EXPECT_TRUE(is_network_magic(static_cast<int>(0xFF534D42u)));  // CIFS, as a system with a 32-bit field reports it
  EXPECT_TRUE(is_network_magic(0xFF534D42L));
  EXPECT_FALSE(is_network_magic(0xEF53));      // ext4
  EXPECT_FALSE(is_network_magic(0x794C7630));  // overlayfs
  EXPECT_FALSE(is_on_network("/dev/shm/not/there/yet"));
}

TEST(OpenDatabase, LeavesNoFilesBesideTheDatabase) {
  const TempFolder folder;
  Database::open(folder / "tuning.db").finish(sample_trial());
  EXPECT_EQ(testing::files_of(folder.path()), "tuning.db");
}

TEST(OpenDatabase, RefusesFilesThatAreNoDatabaseAndLeavesThemAlone) {
  std::string text(5000, 'x');
  for (const std::string& bytes : {std::string("garbage"), text, std::string("SQLite format 3") + '\0' + text,
                                   std::string("SQLite format 3") + '\0'}) {
    for (const Database::Mode mode : {Database::Mode::kReadWrite, Database::Mode::kReadOnly}) {
      const TempFolder folder;
      testing::write_file(folder / "tuning.db", bytes);
      const Error e = caught([&] { Database::open(folder / "tuning.db", mode); });
      EXPECT_EQ(e.kind(), ErrorKind::kIo);
      EXPECT_TRUE(contains(e.what(), (folder / "tuning.db").string()) && contains(e.what(), "--db")) << e.what();
      EXPECT_EQ(testing::read_file(folder / "tuning.db"), bytes);
      EXPECT_EQ(testing::files_of(folder.path()), "tuning.db");
    }
  }
}

TEST(OpenDatabase, RefusesATruncatedDatabaseAndLeavesItAlone) {
  const TempFolder folder;
  Database::open(folder / "tuning.db").finish(sample_trial());
  const std::string whole = testing::read_file(folder / "tuning.db");
  for (const std::size_t size : {std::size_t{100}, std::size_t{600}, whole.size() / 2}) {
    testing::write_file(folder / "tuning.db", whole.substr(0, size));
    const Error e = caught([&] {
      const Database db = Database::open(folder / "tuning.db", Database::Mode::kReadOnly);
      db.trials();
    });
    EXPECT_EQ(e.kind(), ErrorKind::kIo) << size;
    EXPECT_EQ(testing::read_file(folder / "tuning.db"), whole.substr(0, size));
  }
}

TEST(OpenDatabase, RefusesADatabaseOfAnotherProgramAndLeavesItAlone) {
  const TempFolder folder;
  testing::tamper(folder / "music.db", "CREATE TABLE songs(title TEXT)");
  const std::string before = testing::read_file(folder / "music.db");
  const Error e = caught([&] { Database::open(folder / "music.db"); });
  EXPECT_EQ(e.kind(), ErrorKind::kIo);
  EXPECT_TRUE(contains(e.what(), "another program")) << e.what();
  EXPECT_EQ(testing::read_file(folder / "music.db"), before);
}

TEST(OpenDatabase, TakesAnEmptyFileAsANewDatabase) {
  const TempFolder folder;
  testing::write_file(folder / "tuning.db", "");
  EXPECT_TRUE(Database::open(folder / "tuning.db", Database::Mode::kReadOnly).trials().empty());
  EXPECT_EQ(testing::read_file(folder / "tuning.db"), "");
  Database::open(folder / "tuning.db").finish(sample_trial());
  EXPECT_EQ(Database::open(folder / "tuning.db").trials().size(), 1u);
}

TEST(OpenDatabase, ForReadingNeedsTheFileAndCreatesNothing) {
  const TempFolder folder;
  const Error e = caught([&] { Database::open(folder / "none/tuning.db", Database::Mode::kReadOnly); });
  EXPECT_EQ(e.kind(), ErrorKind::kNotFound);
  EXPECT_TRUE(contains(e.what(), "flashtune sweep")) << e.what();
  EXPECT_FALSE(std::filesystem::exists(folder / "none"));
}

TEST(OpenDatabase, RefusesAFolderInPlaceOfAFile) {
  const TempFolder folder;
  EXPECT_TRUE(contains(caught([&] { Database::open(folder.path()); }).what(), "is not a file"));
}

TEST(OpenDatabase, RefusesWritesWhenOpenedForReading) {
  const TempFolder folder;
  Database::open(folder / "tuning.db").finish(sample_trial());
  Database db = Database::open(folder / "tuning.db", Database::Mode::kReadOnly);
  EXPECT_TRUE(db.info().read_only);
  EXPECT_EQ(caught([&] { db.finish(sample_trial(16)); }).kind(), ErrorKind::kIo);
  EXPECT_EQ(db.trials().size(), 1u);
}

TEST(OpenDatabase, SaysWhichFolderCannotBeWritten) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "shut");
  std::filesystem::permissions(folder / "shut", std::filesystem::perms(0555));
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const Error in_folder = caught([&] { Database::open(folder / "shut/tuning.db"); });
    const Error new_folder = caught([&] { Database::open(folder / "shut/new/tuning.db"); });
    return in_folder.kind() == ErrorKind::kIo && new_folder.kind() == ErrorKind::kIo &&
           contains(in_folder.what(), (folder / "shut/tuning.db").string()) &&
           contains(in_folder.what(), "permissions") && contains(new_folder.what(), (folder / "shut/new").string()) &&
           contains(new_folder.what(), "--db");
  }));
  EXPECT_EQ(testing::files_of(folder.path()), "");
}

TEST(OpenDatabase, ReadsALogDatabaseInAFolderThatCannotBeWritten) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "shipped");
  Database::open(folder / "shipped/tuning.db").finish(sample_trial());
  std::filesystem::permissions(folder / "shipped/tuning.db", std::filesystem::perms(0444));
  std::filesystem::permissions(folder / "shipped", std::filesystem::perms(0555));
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const Database db = Database::open(folder / "shipped/tuning.db", Database::Mode::kReadOnly);
    return db.trials().size() == 1 && db.check().empty();
  }));
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const Error e = caught([&] { Database::open(folder / "shipped/tuning.db"); });
    return e.kind() == ErrorKind::kIo && contains(e.what(), "write");
  }));
  EXPECT_EQ(testing::files_of(folder / "shipped"), "tuning.db");
}

TEST(OpenDatabase, ReadsAFileWhoseNameHasAMeaningInUris) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "shipped");
  const std::filesystem::path path = folder / "shipped/100% sure? #1.db";
  Database::open(path).finish(sample_trial());
  std::filesystem::permissions(folder / "shipped", std::filesystem::perms(0555));
  EXPECT_TRUE(
      testing::as_ordinary_user([&] { return Database::open(path, Database::Mode::kReadOnly).trials().size() == 1; }));
}

TEST(OpenDatabase, FindsItsPlaceByFlagThenDataFolderThenHome) {
  EXPECT_EQ(default_database_path("my.db", "/data", "/home/u"), "my.db");
  EXPECT_EQ(default_database_path(nullptr, "/data", "/home/u"), "/data/flashtune/tuning.db");
  EXPECT_EQ(default_database_path("", "", "/home/u"), "/home/u/.local/share/flashtune/tuning.db");
  EXPECT_EQ(default_database_path(nullptr, "relative", "/home/u"), "/home/u/.local/share/flashtune/tuning.db");
  EXPECT_EQ(default_database_path(nullptr, nullptr, nullptr), std::nullopt) << "a service may have no home";
  EXPECT_EQ(default_database_path("", "relative", ""), std::nullopt);
}

}  // namespace
}  // namespace flashtune
