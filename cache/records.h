// The values the tuning database holds: candidates, trials, best answers, and the enums that grade them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "flashtune/shared/config.h"
#include "flashtune/shared/problem.h"

namespace flashtune {

/// One kernel template of the project. The token is the name of its .cuh file.
enum class Family : int {
  kPrefillMma = 0,
  kDecodeSplit = 1,
  kKvAppend = 2,
  kPrefillWgmma = 3,
  kPrefillTf32 = 4,
  kPrefillScalar = 5,
  kPrefillFragment = 6,
  kDecodeScalar = 7,
};
constexpr const char* name_of(Family family) {
  return family == Family::kPrefillMma        ? "prefill_mma"
         : family == Family::kDecodeSplit     ? "decode_split"
         : family == Family::kKvAppend        ? "kv_append"
         : family == Family::kPrefillWgmma    ? "prefill_wgmma"
         : family == Family::kPrefillTf32     ? "prefill_tf32"
         : family == Family::kPrefillScalar   ? "prefill_scalar"
         : family == Family::kPrefillFragment ? "prefill_fragment"
         : family == Family::kDecodeScalar    ? "decode_scalar"
                                              : nullptr;
}

/// A family with a config. The variant's index is the Family's value.
using AnyConfig = std::variant<PrefillMmaConfig, DecodeSplitConfig, KvAppendConfig, PrefillWgmmaConfig,
                               PrefillTf32Config, PrefillScalarConfig, PrefillFragmentConfig, DecodeScalarConfig>;
struct Candidate {
  AnyConfig config;
  Family family() const { return static_cast<Family>(config.index()); }
  bool operator==(const Candidate&) const = default;
};

/// A GPU as far as tuning results carry over: two cards of one key give the same answer.
struct DeviceKey {
  std::string name;  // "NVIDIA H200", or "model:A100-SXM4-80GB" for a modelled one
  int sm_count = 0;
  int arch = 0;  // 90 for sm_90
  bool operator==(const DeviceKey&) const = default;
};

/// How good a database answer is, best first. The same tokens everywhere.
enum class Grade : int { kMeasured = 0, kNearest, kStale, kOtherDevice, kModelled, kDefault };
constexpr const char* name_of(Grade grade) {
  constexpr const char* kNames[] = {"measured", "nearest", "stale", "other_device", "modelled", "default"};
  const int i = static_cast<int>(grade);
  return i >= 0 && i < 6 ? kNames[i] : nullptr;
}

/// How a trial ended. Only kMeasured has times; kModelled has the cost model's.
enum class Outcome : int {
  kInFlight = 0,   // an attempt was committed and its launch has not come back
  kMeasured,       // proven right and timed
  kModelled,       // compiled and ranked by the cost model; no GPU was there
  kCompileError,   // NVRTC or ptxas refused it
  kSpills,         // compiled, but spills more than the limit: pruned before timing
  kSerialised,     // compiled, but ptxas lets no two of its wgmma products overlap: pruned before timing
  kOverResources,  // needs more registers or shared memory than the device gives
  kWrong,          // ran, and its output is not the answer
  kCrashed,        // an illegal access, or twice found in flight
  kTimedOut,       // a launch went past the limit
  kOutOfMemory,    // the problem's tensors do not fit the device
};
constexpr const char* name_of(Outcome outcome) {
  constexpr const char* kNames[] = {"in_flight", "measured",   "modelled",       "compile_error",
                                    "spills",    "serialised", "over_resources", "wrong",
                                    "crashed",   "timed_out",  "out_of_memory"};
  const int i = static_cast<int>(outcome);
  return i >= 0 && i < 11 ? kNames[i] : nullptr;
}

/// What the compiler made of a candidate, read from its cubin.
struct KernelFacts {
  int registers = 0;
  int spill_bytes = 0;  // stores plus loads, as ptxas counts them
  int stack_bytes = 0;
  int smem_static = 0;
  int max_threads = 0;
  bool operator==(const KernelFacts&) const = default;
};

/// Device times in microseconds. Cold: inputs rotate past the L2; the figure of merit. Warm: the same inputs again.
struct Timing {
  double median_us = 0;
  double spread_us = 0;  // distance between the quartiles of the cold samples
  double warm_us = 0;    // 0 when it was not measured
  int samples = 0;
  int sm_clock_mhz = 0;  // median while sampling; 0 where no clock can be read
  bool operator==(const Timing&) const = default;
};

/// What identifies a trial. Everything that changes the answer is here; a test holds that for each field.
struct TrialKey {
  DeviceKey device;
  Candidate candidate;
  Problem problem;
  std::string cubin_digest;  // of the whole cubin that ran, so a changed comment keeps what was learned
  std::string policy;        // how it was measured, "cold-graph/1"
  bool operator==(const TrialKey&) const = default;
};

/// One candidate on one problem on one device. Driver, compiler and time stand beside the key as evidence.
struct Trial {
  std::int64_t id = 0;  // 0 until stored
  TrialKey key;
  Outcome outcome = Outcome::kInFlight;
  std::string detail;  // for people: the compiler's first error, the largest error and where, ...
  int attempts = 0;    // launches begun and not come back from
  KernelFacts facts;
  Timing timing;
  std::string driver;    // "580.159.04", empty when modelled
  std::string compiler;  // "nvrtc 13.0.88"
  std::string when;      // UTC, ISO 8601
  bool operator==(const Trial&) const = default;
};

/// The winner of a sweep for one problem on one device.
struct Best {
  DeviceKey device;
  Problem problem;
  Candidate candidate;
  Grade grade = Grade::kMeasured;  // kMeasured or kModelled as stored; a lookup may lower it
  Timing timing;
  double default_us = 0;  // the built-in default's time in the same sweep, 0 when it has none
  std::string cubin_digest;
  std::string policy;
  std::string driver;
  std::string compiler;
  std::string when;
  bool operator==(const Best&) const = default;
};

}  // namespace flashtune
