// Data races that ThreadSanitizer found, counted; in a build without it there are none to be found.
#pragma once

namespace flashtune {

/// Whether this build looks for races.
bool finds_races();

/// Counts the races of its lifetime, and keeps them from failing the process: a test decides what they mean.
class RaceCounter {
 public:
  RaceCounter();
  ~RaceCounter();
  RaceCounter(const RaceCounter&) = delete;
  RaceCounter& operator=(const RaceCounter&) = delete;
  int count() const;
};

}  // namespace flashtune
