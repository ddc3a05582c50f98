// Looks without following links, and takes a name by a rename that replaces nothing.
#include "cache/beside.h"

#include <fmt/format.h>
#include <sys/stat.h>

namespace flashtune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRemedy = "its folder must be writable and have room";

bool has(const fs::path& name) {
  struct stat facts {};
  return ::lstat(name.c_str(), &facts) == 0;
}

bool is_free(const fs::path& name) {
  for (const char* part : {"", "-journal", "-wal", "-shm"})
    if (has(name.string() + part)) return false;
  return true;
}

}  // namespace

fs::path free_name_beside(const fs::path& file, const std::string& suffix) {
  const std::string base = file.string() + suffix;
  fs::path name = base;
  for (int i = 2; !is_free(name); ++i) name = fmt::format("{}.{}", base, i);
  return name;
}

fs::path keep_beside(const fs::path& file, const std::string& suffix, const std::string& what,
                     const std::function<void(TemporaryFile&)>& fill) {
  TemporaryFile kept(file.parent_path(), {what, file.string() + suffix, kRemedy}, 0600);
  fill(kept);
  struct stat facts {};
  if (::stat(file.c_str(), &facts) == 0) kept.take_after(facts);
  for (;;)
    if (fs::path name = free_name_beside(file, suffix); kept.publish_as_new(name)) return name;
}

}  // namespace flashtune
