// Reads the status word, and looks again on the host for who was meant.
#include "runtime/api/debug_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "cache/error.h"

namespace flashtune {
namespace {

constexpr std::size_t kMostNamed = 8;

std::vector<int> download(Device& device, DevicePtr from, std::size_t count) {
  std::vector<int> host(count);
  device.copy_out(host.data(), from, count * sizeof(int));
  return host;
}

/// A sentence for each sequence that the kernel cannot have liked.
std::vector<std::string> complaints(Device& device, const Problem& p, const Tensors& t) {
  std::vector<std::string> found;
  const bool append = p.op == Op::kAppend;
  const auto batch = static_cast<std::size_t>(p.batch), columns = static_cast<std::size_t>(t.max_pages);
  std::vector<int> lengths(batch, p.seq_kv), table;
  if (t.lengths != 0) lengths = download(device, t.lengths, batch);
  if (p.page_size > 0) table = download(device, t.page_table, batch * columns);
  for (std::size_t b = 0; b < batch; ++b) {
    if (lengths[b] < 0 || lengths[b] > p.seq_kv) {
      found.push_back(
          fmt::format("sequence {} has length {}, which is not between 0 and seq_kv = {}", b, lengths[b], p.seq_kv));
      continue;
    }
    if (append && lengths[b] > 0 && lengths[b] < p.seq_q) {
      found.push_back(
          fmt::format("sequence {} has length {}, which is less than its {} new rows", b, lengths[b], p.seq_q));
      continue;
    }
    if (p.page_size == 0) continue;
    const auto keys = static_cast<std::size_t>(lengths[b]), page_size = static_cast<std::size_t>(p.page_size);
    // Append looks at the pages of its new rows alone, decode at those that its first new row sees.
    const int first_key = append ? std::max(lengths[b] - p.seq_q, 0) : first_key_in_reach(p, lengths[b]);
    for (std::size_t i = static_cast<std::size_t>(first_key) / page_size; i * page_size < keys; ++i)
      if (const int page = table[b * columns + i]; page < 0 || page >= t.num_pages)
        found.push_back(
            fmt::format("sequence {} has page {} as its page {}, and there are {}", b, page, i, t.num_pages));
  }
  return found;
}

}  // namespace

void check_decode_status(Device& device, const Problem& problem, const Tensors& tensors, DevicePtr workspace) {
  device.synchronize();
  const auto status = static_cast<unsigned>(download(device, workspace, 1).front());
  if (status == 0) return;
  device.fill(workspace, 0, sizeof(unsigned));
  std::vector<std::string> found = complaints(device, problem, tensors);
  const std::size_t all = found.size();
  if (all > kMostNamed) {
    found.resize(kMostNamed);
    found.push_back(fmt::format("and {} more", all - kMostNamed));
  }
  const std::string what =
      status & kLengthOutOfRange ? status & kPageOutOfRange ? "lengths and pages" : "lengths" : "pages";
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("{} met {} that cannot be: {}", name_of(problem.op), what,
                          all == 0 ? "they have changed since then" : fmt::format("{}", fmt::join(found, "; "))));
}

}  // namespace flashtune
