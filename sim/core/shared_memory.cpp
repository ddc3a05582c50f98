// The slow side of shared memory: declarations, and sentences about faults.
#include "sim/core/shared_memory.h"

#include <fmt/format.h>

#include <algorithm>

namespace flashtune::sim {

std::string text_of(Site site) { return fmt::format("{}:{}", site.file, site.line); }

SharedMemory::SharedMemory(unsigned bytes)
    : size_(bytes), bytes_(new (kAlignment) unsigned char[bytes]), state_((bytes + 3) / 4), stamps_(state_.size()) {
  regions_.reserve(kMaxRegions);
  reset();
}

void SharedMemory::reset() {
  std::fill_n(bytes_.get(), size_, static_cast<unsigned char>(0xff));
  std::fill(state_.begin(), state_.end(), kUnwritten);
  std::fill(stamps_.begin(), stamps_.end(), 0u);
  regions_.assign(1, {0, size_, {}});
}

unsigned SharedMemory::declare(unsigned first, int bytes, Site site) {
  const unsigned offset = (first & kOffsetMask) - kBase;
  const unsigned end = offset + static_cast<unsigned>(bytes);
  if (bytes < 0 || offset > size_ || end > size_) return 0;
  auto found = std::find_if(regions_.begin() + 1, regions_.end(), [&](const Region& r) {
    return r.begin == offset && r.end == end && r.site.line == site.line;
  });
  if (found == regions_.end()) {
    if (regions_.size() == kMaxRegions) return 0;
    found = regions_.insert(found, {offset, end, site});
  }
  return static_cast<unsigned>(found - regions_.begin()) << kOffsetBits | (first & kOffsetMask);
}

unsigned SharedMemory::same_place(const SharedMemory& other, unsigned address) {
  const unsigned region = address >> kOffsetBits;
  if (region == 0) return address;
  if (region >= other.regions_.size()) return 0;
  const Region& r = other.regions_[region];
  const unsigned declared = declare(r.begin + kBase, static_cast<int>(r.end - r.begin), r.site);
  return declared == 0 ? 0 : (declared & ~kOffsetMask) | (address & kOffsetMask);
}

std::string SharedMemory::name_of_region(unsigned region) const {
  const Region& r = regions_[region];
  if (region == 0) return fmt::format("the block's {} bytes of shared memory", size_);
  return fmt::format("the region of {} bytes at {} declared at {}", r.end - r.begin, r.begin, text_of(r.site));
}

std::string SharedMemory::fault(unsigned address, unsigned bytes) const {
  const unsigned region = address >> kOffsetBits;
  if (window_of(address) != 0)
    return fmt::format("address {:#x} is that of block {} of the cluster, which only store_cluster reaches", address,
                       window_of(address) - 1);
  if (region >= regions_.size()) return fmt::format("address {:#x} belongs to no region", address);
  const auto offset = static_cast<long long>(address & kOffsetMask) - kBase;
  const Region& r = regions_[region];
  if (offset % bytes != 0) return fmt::format("offset {} is no multiple of {}", offset, bytes);
  if (offset < r.begin)
    return fmt::format("offset {} lies {} bytes before {}", offset, r.begin - offset, name_of_region(region));
  return fmt::format("offset {} ends {} bytes past {}", offset, offset + bytes - r.end, name_of_region(region));
}

std::string SharedMemory::why_unreadable(unsigned address, unsigned bytes) const {
  const unsigned char* state = state_at(address);
  const unsigned char wanted = mark_of(address);
  const unsigned offset = (address & kOffsetMask) - kBase;
  for (unsigned i = 0; i < bytes / 4; ++i) {
    const unsigned char s = state[i];
    const std::string place = fmt::format("offset {} of {}", offset + 4 * i, name_of_region(address >> kOffsetBits));
    if (s == kUnwritten) return place + " was never written";
    if (s == kBarrier) return place + " is an mbarrier";
    if ((s & kInFlight) != 0) return place + " holds a copy that nobody has waited for";
    if (s != wanted && wanted != kUndeclared)
      return fmt::format("{} was written last through {}", place, name_of_region(s - 1u));
  }
  return "it is readable";
}

}  // namespace flashtune::sim
