// The allocations of a device, as a launch sees them: which addresses a kernel may touch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace flashtune::sim {

class GlobalMemory {
 public:
  struct Range {
    std::uintptr_t begin, end;
  };
  /// `ranges` in ascending order.
  explicit GlobalMemory(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}

  /// Whether [p, p + bytes) lies in one allocation. `hint` is the caller's own, from 0; it remembers where the last
  /// access went.
  bool holds(const void* p, std::size_t bytes, std::size_t& hint) const {
    const auto a = reinterpret_cast<std::uintptr_t>(p);
    if (hint < ranges_.size() && a >= ranges_[hint].begin && a + bytes <= ranges_[hint].end) return true;
    return search(a, bytes, hint);
  }
  /// "32 bytes past the allocation of 4096 bytes at 0x..." of an address that holds() refuses.
  std::string fault(const void* p, std::size_t bytes) const;

 private:
  bool search(std::uintptr_t a, std::size_t bytes, std::size_t& hint) const;
  std::vector<Range> ranges_;
};

}  // namespace flashtune::sim
