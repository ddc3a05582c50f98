// A sweep's events for people: a bar with the time left on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <string>

#include "tuner/sweep/sweep.h"

namespace flashtune {

/// What a bar shows: pure, so that tests can hold it.
std::string bar_text(const std::string& label, const Progress& progress, double seconds_left, int columns);

/// "1:05", "12 s", "1:02:03"; "" when it is not known.
std::string remaining_text(double seconds);

/// Writes to stderr. Clears its bar before anything else is printed.
class ProgressDisplay {
 public:
  explicit ProgressDisplay(bool terminal) : terminal_(terminal) {}
  void show(const ProblemStarted& started);
  void show(const Progress& progress);
  void finish(const ProblemDone& done);
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  double seconds_left(const Progress& progress) const;

  bool terminal_;
  bool bar_shown_ = false;
  std::string label_, stage_;
  int index_ = 0, count_ = 1, finished_ = 0;
  Clock::time_point begun_ = Clock::now(), stage_begun_ = begun_, drawn_{};
};

}  // namespace flashtune
