// Accesses to shared memory by the threads' own instructions, checked.
#pragma once

#include <fmt/format.h>

#include <string>

#include "sim/core/block.h"
#include "sim/core/sanitizers.h"

namespace flashtune::sim {

inline std::string name_of_owner(const Block& block, const Block& owner) {
  return &owner == &block ? "" : fmt::format(" of block {}", owner.index());
}

/// Where `bytes` at `address` of the owner's shared memory lie, checked on behalf of the running block.
inline unsigned char* shared_at(Block& block, Block& owner, unsigned address, unsigned bytes, const char* what,
                                Site site) {
  block.check_time(site);
  unsigned char* p = owner.shared().at(address, bytes);
  if (p == nullptr)
    block.fail(site, [&] {
      return fmt::format("{} of {} bytes of shared memory{} out of bounds or misaligned: {}", what, bytes,
                         name_of_owner(block, owner), owner.shared().fault(address, bytes));
    });
  return p;
}

inline const unsigned char* shared_source(Block& block, unsigned address, unsigned bytes, const char* what, Site site) {
  unsigned char* p = shared_at(block, block, address, bytes, what, site);
  if (!block.shared().readable(address, bytes))
    block.fail(site, [&] {
      return fmt::format("{} of shared memory that is not there yet: {}", what,
                         block.shared().why_unreadable(address, bytes));
    });
  kernel_reads(p, bytes);
  return p;
}

inline unsigned char* shared_target(Block& block, Block& owner, unsigned address, unsigned bytes, const char* what,
                                    Site site) {
  unsigned char* p = shared_at(block, owner, address, bytes, what, site);
  if (owner.shared().in_flight(address, bytes))
    block.fail(site, [&] {
      return fmt::format("{} onto shared memory{} at which a copy is still in flight: {}", what,
                         name_of_owner(block, owner), owner.shared().why_unreadable(address, bytes));
    });
  return p;
}

}  // namespace flashtune::sim
