// What an engine answers: the dispatcher's decision where the problem's strides take it, and pinned where that is asked
// for. The one door for all who launch or tell what would be launched.
#pragma once

#include <string>
#include <vector>

#include "runtime/dispatch/dispatcher.h"

namespace flashtune {

class Decider {
 public:
  /// `rows` as the Dispatcher takes them. `pinned_chunk`: see EngineOptions.
  Decider(DeviceKey device, std::string driver, std::vector<Best> rows, int pinned_chunk = 0);

  /// Throws Error(kInvalidArgument) for a problem that no family computes. Thread-safe, and so is explain().
  Decision decide(const Problem& problem) const;
  /// The same decision with the story behind it.
  std::vector<Consideration> explain(const Problem& problem) const;

  /// Whether the problem's keys are cut into chunks of a given size, whatever its batch and lengths.
  bool pins(const Problem& problem) const { return pinned_chunk_ > 0 && problem.op == Op::kDecode; }

  const Dispatcher& dispatcher() const { return dispatcher_; }
  const ArchLimits& limits() const { return limits_; }

 private:
  Decision decide_pinned(const Problem& problem) const;

  ArchLimits limits_;
  int pinned_chunk_;
  Dispatcher dispatcher_;
};

}  // namespace flashtune
