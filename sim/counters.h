// What a launch did, counted: a deterministic stand-in for time, the same for every schedule.
#pragma once

#include <cstdint>
#include <vector>

namespace flashtune {

/// Instructions are counted once per warp. A bank conflict is one more pass over shared memory than the access needs.
struct Counters {
  std::uint64_t mma = 0;
  std::uint64_t wgmma = 0;  // once per warpgroup
  std::uint64_t ldmatrix = 0;
  std::uint64_t stmatrix = 0;
  std::uint64_t shuffles = 0;  // votes too
  std::uint64_t warp_barriers = 0;
  std::uint64_t block_barriers = 0;    // once per block
  std::uint64_t named_barriers = 0;    // once per opening
  std::uint64_t cluster_barriers = 0;  // once per opening
  std::uint64_t mbarrier_phases = 0;   // completed
  std::uint64_t atomics = 0;           // once per thread
  std::uint64_t copies = 0;            // asynchronous, 16 bytes each
  std::uint64_t copies_of_zeros = 0;   // of these, those that read nothing
  std::uint64_t tma_boxes = 0;         // either way; a multicast is one
  std::uint64_t global_bytes_read = 0;
  std::uint64_t global_bytes_written = 0;
  std::uint64_t cluster_bytes_written = 0;  // to shared memory by way of the cluster
  std::uint64_t ldmatrix_conflicts = 0;
  std::uint64_t copy_conflicts = 0;
  std::uint64_t load_conflicts = 0;
  std::uint64_t store_conflicts = 0;
  bool operator==(const Counters&) const = default;
};

/// Calls f(name, value) for each counter, in the order of the struct.
template <class AnyCounters, class F>
void visit_counters(AnyCounters& c, F&& f) {
  f("mma", c.mma);
  f("wgmma", c.wgmma);
  f("ldmatrix", c.ldmatrix);
  f("stmatrix", c.stmatrix);
  f("shuffles", c.shuffles);
  f("warp_barriers", c.warp_barriers);
  f("block_barriers", c.block_barriers);
  f("named_barriers", c.named_barriers);
  f("cluster_barriers", c.cluster_barriers);
  f("mbarrier_phases", c.mbarrier_phases);
  f("atomics", c.atomics);
  f("copies", c.copies);
  f("copies_of_zeros", c.copies_of_zeros);
  f("tma_boxes", c.tma_boxes);
  f("global_bytes_read", c.global_bytes_read);
  f("global_bytes_written", c.global_bytes_written);
  f("cluster_bytes_written", c.cluster_bytes_written);
  f("ldmatrix_conflicts", c.ldmatrix_conflicts);
  f("copy_conflicts", c.copy_conflicts);
  f("load_conflicts", c.load_conflicts);
  f("store_conflicts", c.store_conflicts);
}

inline Counters& operator+=(Counters& into, const Counters& more) {
  std::vector<std::uint64_t> values;
  visit_counters(more, [&](const char*, std::uint64_t value) { values.push_back(value); });
  visit_counters(into, [next = values.begin()](const char*, std::uint64_t& value) mutable { value += *next++; });
  return into;
}

}  // namespace flashtune
