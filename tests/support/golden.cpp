// Compares with, or rewrites, the expected texts of golden tests.
#include "tests/support/golden.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace flashtune {
namespace {

std::string read_all(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

/// The program's own arguments, so that a test needs no main().
bool updating() { return read_all("/proc/self/cmdline").find(std::string("\0--update\0", 10)) != std::string::npos; }

void expect_golden(const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(FLASHTUNE_SOURCE_DIR) / "tests/golden/expected" / name;
  if (updating()) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return;
  }
  ASSERT_TRUE(std::filesystem::exists(path))
      << path << " is missing; run this test with --update and look at what it writes";
  EXPECT_EQ(read_all(path), text) << "expected by " << path << "; --update rewrites it";
}

}  // namespace flashtune
