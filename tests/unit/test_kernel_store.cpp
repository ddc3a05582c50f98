// The store as compilers see it: it never fails them, and says once what is wrong.
#include "runtime/jit/kernel_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "cache/keys.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::TempFolder;

const std::string kKey = digest_of("key"), kOther = digest_of("other");
const StoredCubin kEntry{"code", "log"};

struct Heard {
  std::vector<std::string> lines;
  KernelStore::Options options(const fs::path& folder) {
    return {folder, kDefaultCubinLimit, [this](const std::string& line) { lines.push_back(line); }};
  }
};

TEST(KernelStore, KeepsAndSaysNothing) {
  const TempFolder folder;
  Heard heard;
  KernelStore store(heard.options(folder / "cubins"));
  EXPECT_EQ(store.get(kKey), std::nullopt);
  store.put(kKey, kEntry);
  EXPECT_EQ(store.get(kKey), kEntry);
  EXPECT_TRUE(heard.lines.empty());
  EXPECT_EQ(store.problem(), "");
}

TEST(KernelStore, WithoutAFolderKeepsNothing) {
  KernelStore store({});
  store.put(kKey, kEntry);
  EXPECT_EQ(store.get(kKey), std::nullopt);
  EXPECT_EQ(store.problem(), "");
}

TEST(KernelStore, SaysOnceThatItsFolderIsNotUsed) {
  const TempFolder folder;
  fs::create_directory(folder / "open");
  chmod((folder / "open").c_str(), 0777);
  Heard heard;
  KernelStore store(heard.options(folder / "open"));
  for (int i = 0; i < 3; ++i) {
    store.put(kKey, kEntry);
    EXPECT_EQ(store.get(kKey), std::nullopt);
  }
  ASSERT_EQ(heard.lines.size(), 1u);
  EXPECT_TRUE(contains(heard.lines.front(), "may be written by others")) << heard.lines.front();
  EXPECT_EQ(store.problem(), heard.lines.front());
  EXPECT_EQ(testing::files_of(folder.path()), "");
}

TEST(KernelStore, SaysOnceThatAnEntryCannotBeKeptAndKeepsTheOthers) {
  const TempFolder folder;
  Heard heard;
  KernelStore store(heard.options(folder.path()));
  fs::create_directory(folder / (kKey + ".cubin"));
  for (int i = 0; i < 3; ++i) store.put(kKey, kEntry);
  store.put(kOther, kEntry);
  EXPECT_EQ(store.get(kKey), std::nullopt);
  EXPECT_EQ(store.get(kOther), kEntry);
  EXPECT_EQ(heard.lines.size(), 1u);
}

}  // namespace
}  // namespace flashtune
