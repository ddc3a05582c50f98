// The command beside files that others may have placed: whose code it runs, and whose files it leaves alone.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/compile/host_compiler.h"
#include "tests/support/cache_fixtures.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using Arguments = std::vector<std::string>;

constexpr const char* kNotUsed = "may be written by others";

class ForeignCode : public ::testing::Test {
 protected:
  /// The command, or another file of it, with such arguments more.
  ProgramResult run(const Arguments& arguments, const std::map<std::string, std::string>& more = {},
                    const std::string& program = FLASHTUNE_CLI) const {
    Arguments all = {program};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::map<std::string, std::string> environment = more;
    environment.insert({{"HOME", home}, {"PATH", "/usr/bin:/bin"}, {"LC_ALL", "C.UTF-8"}});
    return run_program(all, environment);
  }
  /// A small kernel on the simulated device, by a cache in such a folder.
  ProgramResult run_kernel(const fs::path& cubins, const std::map<std::string, std::string>& more = {}) const {
    return run({"run", "--device", "sim", "--heads", "1", "--seq-q", "2", "--head-dim", "8", "--check", "--cubin-cache",
                cubins},
               more);
  }
  static std::vector<fs::path> entries(const fs::path& folder) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".cubin") found.push_back(entry.path());
    return found;
  }
  /// A library that makes `trace` when it is loaded.
  static std::string tell_tale(const fs::path& trace) {
    const sim::HostCompiled library = sim::HostCompiler().compile(
        "extern \"C\" int creat(const char*, unsigned);\n"
        "__attribute__((constructor)) static void tell() { creat(\"" +
        trace.string() + "\", 0600); }\n");
    EXPECT_TRUE(library.ok) << library.log;
    return library.library;
  }
  static void age(const fs::path& path) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(2));
  }

  ScratchFolder scratch;
  fs::path home = scratch.path();
};

TEST_F(ForeignCode, FilesInAFolderThatIsNamedForKernelsStay) {
  fs::create_directories(home / "proj/tmp");
  fs::create_directories(home / "linked");
  for (const char* name : {"proj/tmp/thesis.txt", "proj/thesis.cubin", "linked/thesis.txt", "linked/1-0"}) {
    testing::write_file(home / name, "thesis");
    age(home / name);
  }
  EXPECT_EQ(run_kernel(home / "proj").exit_code, 0);
  fs::remove_all(home / "proj/tmp");
  fs::create_directory_symlink(home / "linked", home / "proj/tmp");
  EXPECT_EQ(run_kernel(home / "proj").exit_code, 0);
  EXPECT_EQ(run({"cache", "clear", "--cubin-cache", home / "proj"}).exit_code, 0);
  EXPECT_EQ(testing::files_of(home), "linked/1-0 linked/thesis.txt proj/.flashtune-secret proj/thesis.cubin proj/tmp");
}

TEST_F(ForeignCode, WhateverIsInTheWayOfAnEntryCostsACompile) {
  const fs::path cubins = home / "cubins";
  ASSERT_EQ(run_kernel(cubins).exit_code, 0);
  const std::vector<fs::path> kernels = entries(cubins);
  ASSERT_FALSE(kernels.empty());
  const std::vector<void (*)(const fs::path&)> in_the_way = {
      [](const fs::path& path) { fs::create_directory(path); },
      [](const fs::path& path) { ASSERT_EQ(mkfifo(path.c_str(), 0600), 0); },
      [](const fs::path& path) { fs::create_symlink(path.filename(), path); },
      [](const fs::path& path) { fs::create_symlink("/dev/zero", path); },
      [](const fs::path& path) { testing::write_file(path, "words of mine"); },
  };
  for (const auto& place : in_the_way) {
    for (const fs::path& kernel : kernels) {
      fs::remove_all(kernel);
      place(kernel);
    }
    const ProgramResult result = run_kernel(cubins);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_TRUE(contains(result.out, "right")) << result.out;
    EXPECT_TRUE(contains(result.err, "warning: cannot keep a compiled kernel as ")) << result.err;
    EXPECT_EQ(result.err.find("warning: "), result.err.rfind("warning: ")) << "said once: " << result.err;
    for (const fs::path& kernel : kernels) EXPECT_TRUE(fs::exists(fs::symlink_status(kernel)));
  }
  EXPECT_EQ(testing::read_file(kernels.front()), "words of mine");
}

TEST_F(ForeignCode, AFolderThatOthersMayWriteIsNotUsedAndThatIsSaidOnce) {
  const fs::path cubins = home / "cubins";
  fs::create_directory(cubins);
  chmod(cubins.c_str(), 0777);
  const ProgramResult result = run_kernel(cubins);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(contains(result.err, kNotUsed)) << result.err;
  EXPECT_EQ(result.err.find(kNotUsed), result.err.rfind(kNotUsed)) << result.err;
  EXPECT_TRUE(fs::is_empty(cubins));
  const auto info = nlohmann::json::parse(run({"cache", "info", "--cubin-cache", cubins, "--format", "json"}).out);
  EXPECT_EQ(info.at("usable"), false);
  EXPECT_TRUE(contains(info.at("why_not"), kNotUsed)) << info;
  EXPECT_EQ(run({"cache", "clear", "--cubin-cache", cubins}).exit_code, 1);
}

TEST_F(ForeignCode, TheCacheTellsWhatItHoldsAndLosesThatAlone) {
  const fs::path cubins = home / ".cache/flashtune/cubins";
  const auto info = [&] { return nlohmann::json::parse(run({"cache", "info", "--format", "json"}).out); };
  EXPECT_EQ(info().at("entries"), 0);
  EXPECT_TRUE(scratch.contents().empty()) << "looking makes no folder";
  EXPECT_EQ(nlohmann::json::parse(run({"cache", "clear", "--format", "json"}).out).at("entries_deleted"), 0);
  EXPECT_TRUE(scratch.contents().empty());

  ASSERT_EQ(run_kernel(cubins).exit_code, 0);
  const auto held = info();
  EXPECT_EQ(held.at("path"), cubins.string());
  EXPECT_EQ(held.at("entries"), entries(cubins).size());
  EXPECT_GT(held.at("entries"), 0);
  EXPECT_EQ(held.at("limit"), 1 << 30);
  EXPECT_EQ(held.at("usable"), true);
  std::uintmax_t bytes = 0;
  for (const fs::path& entry : entries(cubins)) bytes += fs::file_size(entry);
  EXPECT_EQ(held.at("size"), bytes);
  EXPECT_TRUE(contains(run({"cache", "info"}).out, "1 GiB"));

  testing::write_file(cubins / "notes.txt", "mine");
  const auto cleared = nlohmann::json::parse(run({"cache", "clear", "--format", "json"}).out);
  EXPECT_EQ(cleared.at("entries_deleted"), held.at("entries"));
  EXPECT_EQ(cleared.at("size_deleted"), bytes);
  EXPECT_EQ(testing::files_of(cubins), ".flashtune-secret notes.txt");
}

TEST_F(ForeignCode, AnUnsetVariableNamesNoCache) {
  for (const Arguments& line :
       {Arguments{"cache", "clear", "--cubin-cache", ""}, {"cache", "info", "--cubin-cache="}}) {
    const ProgramResult result = run(line);
    EXPECT_EQ(result.exit_code, 2) << result.out;
    EXPECT_TRUE(contains(result.err, "--cubin-cache")) << result.err;
  }
}

TEST_F(ForeignCode, TheLimitOfTheCacheIsThatOfTheEnvironment) {
  const auto limit = [&](const char* text) { return run({"cache", "info"}, {{"FLASHTUNE_CUBIN_LIMIT", text}}); };
  EXPECT_TRUE(contains(limit("500M").out, "500 MiB")) << limit("500M").out;
  const ProgramResult wrong = limit("much");
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_TRUE(contains(wrong.err, "FLASHTUNE_CUBIN_LIMIT is 'much'")) << wrong.err;
}

TEST_F(ForeignCode, NvrtcIsNotLookedForAboveTheProgramNorInTheWorkingFolder) {
  const fs::path trace = home / "loaded", program = home / "a/b/flashtune";
  const std::string library = tell_tale(trace);
  for (const char* folder :
       {".cuda/lib", "a/.cuda/lib", "a/b/.cuda/lib", "libnvrtc.so.13", "libnvrtc.so.12", "lib64"}) {
    fs::create_directories(home / folder);
    for (const char* name : {"libnvrtc.so.12", "libnvrtc.so.13"}) testing::write_file(home / folder / name, library);
  }
  fs::copy_file(FLASHTUNE_CLI, program);
  const fs::path before = fs::current_path();
  fs::current_path(home);
  const ProgramResult result = run({"devices"}, {{"CUDA_HOME", ""}}, program);
  fs::current_path(before);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(fs::exists(trace)) << result.out;
  run({"devices"}, {{"CUDA_HOME", home / ".cuda"}}, program);
  EXPECT_TRUE(fs::exists(trace)) << "what the user names is loaded";
}

TEST_F(ForeignCode, TheSimulatorsCompilerIsNotTakenFromTheWorkingFolder) {
  const fs::path trace = home / "ran", folder = home / "work";
  fs::create_directory(folder);
  for (const char* name : {"c++", "g++", "clang++", "as", "ld"}) {
    testing::write_file(folder / name, "#!/bin/sh\ntouch " + trace.string() + "\nexit 1\n");
    chmod((folder / name).c_str(), 0755);
  }
  const fs::path before = fs::current_path();
  fs::current_path(folder);
  for (const char* path : {":/usr/bin:/bin", ".:/usr/bin:/bin"}) {
    const ProgramResult result = run_kernel(home / "cubins", {{"PATH", path}});
    EXPECT_EQ(result.exit_code, 0) << path << result.err;
    EXPECT_FALSE(fs::exists(trace)) << path;
    fs::remove_all(home / "cubins");
  }
  fs::current_path(before);
}

}  // namespace
}  // namespace flashtune
