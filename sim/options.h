// How the simulated device runs a kernel: in which order threads take turns, and when asynchronous copies land.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace flashtune {

/// Which of the threads that can run goes next, whenever one has to wait. No order finds every missing barrier:
/// kLifo lets one warp run as far ahead of the others as it can, kFifo keeps them abreast, kRandom mixes lanes too.
enum class Schedule : int { kLifo = 0, kFifo, kRandom };
constexpr const char* name_of(Schedule schedule) {
  constexpr const char* kNames[] = {"lifo", "fifo", "random"};
  const int i = static_cast<int>(schedule);
  return i >= 0 && i < 3 ? kNames[i] : nullptr;
}

/// When a copy lands or a product is made: as late as it may (at the wait of the thread that issued it; boxes of the
/// copy engine when no thread can go on without), at once, or either by chance.
enum class CopyTiming : int { kLate = 0, kEarly, kRandom };
constexpr const char* name_of(CopyTiming timing) {
  constexpr const char* kNames[] = {"late", "early", "random"};
  const int i = static_cast<int>(timing);
  return i >= 0 && i < 3 ? kNames[i] : nullptr;
}

struct SimOptions {
  Schedule schedule = Schedule::kLifo;
  CopyTiming copies = CopyTiming::kLate;
  std::uint64_t seed = 1;  // of kRandom, in either
  int threads = 0;         // cores that blocks are spread over; 0: all
  /// Of one launch, in seconds: then each thread that runs is stopped at its next access to memory or meeting, and the
  /// launch throws LateLaunch. A loop with neither in it is not stopped. 0: no limit.
  double limit_s = 0;
  std::string name = "sim";  // of the GPU that is imitated: this and the next two are for DeviceInfo alone
  int sm_count = 1;
  std::size_t l2_bytes = 0;
  std::size_t memory_bytes = 0;  // of the device; 0: half of the host's
};

}  // namespace flashtune
