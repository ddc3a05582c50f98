// Finds the allocation of an address.
#include "sim/core/global_memory.h"

#include <fmt/format.h>

#include <algorithm>

namespace flashtune::sim {
namespace {

/// The first range that begins after `a`.
auto after(const std::vector<GlobalMemory::Range>& ranges, std::uintptr_t a) {
  return std::upper_bound(ranges.begin(), ranges.end(), a, [](std::uintptr_t x, const auto& r) { return x < r.begin; });
}

}  // namespace

bool GlobalMemory::search(std::uintptr_t a, std::size_t bytes, std::size_t& hint) const {
  const auto next = after(ranges_, a);
  if (next == ranges_.begin() || a + bytes > std::prev(next)->end) return false;
  hint = static_cast<std::size_t>(std::prev(next) - ranges_.begin());
  return true;
}

std::string GlobalMemory::fault(const void* p, std::size_t bytes) const {
  const auto a = reinterpret_cast<std::uintptr_t>(p);
  const auto next = after(ranges_, a);
  const auto text = [](const Range& r) {
    return fmt::format("the allocation of {} bytes at {:#x}", r.end - r.begin, r.begin);
  };
  const bool has_next = next != ranges_.end(), has_last = next != ranges_.begin();
  const std::uintptr_t behind = has_last ? a + bytes - std::prev(next)->end : 0;
  if (has_last && (!has_next || behind <= next->begin - a))
    return fmt::format("address {:#x} ends {} bytes past {}", a, behind, text(*std::prev(next)));
  if (has_next) return fmt::format("address {:#x} lies {} bytes before {}", a, next->begin - a, text(*next));
  return fmt::format("address {:#x}, and the device has no allocation", a);
}

}  // namespace flashtune::sim
