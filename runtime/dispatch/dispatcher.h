// Problem in, Decision out, in nanoseconds once a bucket was seen: an immutable snapshot behind a raw atomic pointer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// What the database answered for a problem. `reason` is an enum, not a string, so that deciding allocates nothing.
enum class DecisionReason : int {
  kExactBucket = 0,  // measured in this bucket on this device
  kNearestProblem,   // the nearest measured problem that one kernel could serve
  kOtherDriver,      // measured on this device under another driver: this bucket, or the nearest to it
  kOtherDevice,      // measured on another device of this architecture
  kCostModel,        // compiled and ranked without a GPU
  kNothingKnown,     // the built-in default
  kNotPrepared,      // given by the engine, not by decide(): the stream was capturing, so a kernel that was loaded ran
};
const char* text_of(DecisionReason reason);

struct Decision {
  Candidate candidate;
  Grade grade = Grade::kDefault;
  DecisionReason reason = DecisionReason::kNothingKnown;
  double expected_us = 0;  // of the row it rests on, scaled by nothing; 0 when there is none
  std::int32_t row = -1;   // index into rows(), -1 for the default
};

/// One line of `explain`: a grade that was considered and why it did or did not answer.
struct Consideration {
  Grade grade;
  bool chosen = false;
  std::string why;
};

/// How far apart (see distance() of cache/keys.h) a row may lie and still be preferred for its grade alone: a factor of
/// eight in one size. Beyond it a row of a worse grade that is nearer wins; when there is none, the far one answers all
/// the same.
constexpr double kReach = 3.0;

/// Rows are taken in the order of their grades: this bucket, measured here; the nearest row measured here; one measured
/// here under another driver; one of another device of this architecture; a modelled one. But this bucket, measured
/// here under another driver, comes before any other bucket. First those within kReach, then any; then the built-in
/// default. Of one grade the nearest wins, then the GPU with the closest number of SMs, then the earlier row. A row
/// whose config is not admitted for the problem on this architecture never answers.
class Dispatcher {
 public:
  /// `bests`: every row that may serve (the user's over the shipped ones). `driver` is empty for a modelled device.
  Dispatcher(DeviceKey device, std::string driver, std::vector<Best> bests);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  /// Warm (the problem's bucket was seen): no allocation, no lock, under 200 ns. First sight: under 20 us. Thread-safe.
  /// Throws Error(kInvalidArgument) for a problem that no family computes.
  Decision decide(const Problem& problem) const;

  /// The same decision with the story behind it; not for the hot path.
  std::vector<Consideration> explain(const Problem& problem) const;

  const std::vector<Best>& rows() const;
  /// Whether any row was measured on this device, under whichever driver.
  bool tuned() const;
  /// Buckets that were asked for and have no measured row here, oldest first, at most 1024; of strided ones those that
  /// have none as bshd either. missed.h writes them to a file.
  std::vector<Problem> missed() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashtune
