// Lines of problems, written where they are wanted.
#include "runtime/dispatch/missed.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ostream>

#include "cache/codec.h"
#include "cache/named_output.h"

namespace flashtune {
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

void write_missed(const std::filesystem::path& path, const DeviceKey& device, const std::vector<Problem>& problems) {
  write_named_output(path, "the missed problems", [&](std::ostream& file) { file << missed_text(device, problems); });
}

}  // namespace flashtune
