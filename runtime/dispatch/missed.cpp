// Lines of problems, renamed into place.
#include "runtime/dispatch/missed.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

#include "cache/codec.h"
#include "cache/error.h"

namespace flashtune {
namespace fs = std::filesystem;

std::string missed_text(const DeviceKey& device, const std::vector<Problem>& problems) {
  std::vector<std::string> lines = {fmt::format(
      "# Asked for and not measured on {}; `flashtune sweep --missed FILE` measures them.", device_to_text(device))};
  for (const Problem& problem : problems) {
    const bool named = layout_of(problem) != Layout::kStrided;
    std::string line = problem_to_text(named ? problem : with_layout(problem, Layout::kBshd));
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(std::move(line));
  }
  return fmt::format("{}\n", fmt::join(lines, "\n"));
}

void write_missed(const fs::path& path, const DeviceKey& device, const std::vector<Problem>& problems) {
  fs::path beside = path;
  beside += fmt::format(".{}.tmp", getpid());
  const auto fail = [&](const std::string& why) {
    std::error_code ignored;
    fs::remove(beside, ignored);
    throw Error(ErrorKind::kIo,
                fmt::format("cannot write the missed problems to {}: {}; name a file in a folder that can be written",
                            path.string(), why));
  };
  {
    std::ofstream file(beside, std::ios::binary);
    if (!file) fail(std::generic_category().message(errno));
    file << missed_text(device, problems);
    file.close();
    if (!file) fail("writing stopped half-way (is the disk full?)");
  }
  std::error_code error;
  fs::rename(beside, path, error);
  if (error) fail(error.message());
}

}  // namespace flashtune
