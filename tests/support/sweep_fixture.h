// Sweeps of one small problem on the bench: quick ones, whose candidates a test can name by their number.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/sweep_bench.h"
#include "tuner/report/report.h"
#include "tuner/sweep/sweep.h"

namespace flashtune {

inline SweepOptions quick(std::vector<Problem> problems = {SweepBench::problem()}) {
  SweepOptions options;
  options.problems = std::move(problems);
  options.effort = Effort::kQuick;
  options.compile_threads = 2;
  return options;
}

template <class Event>
std::vector<Event> all_of(const std::vector<SweepEvent>& events) {
  std::vector<Event> found;
  for (const SweepEvent& event : events)
    if (const Event* one = std::get_if<Event>(&event)) found.push_back(*one);
  return found;
}

inline std::vector<Trial> trials_with(const Database& db, Outcome outcome) {
  RecordFilter filter;
  filter.outcome = outcome;
  return db.trials(filter);
}

/// The configs that a quick sweep tries, the default first.
inline std::vector<Candidate> tried_by_quick() {
  SweepBench bench;
  Database db = Database::in_memory();
  bench.sweep(db, quick());
  std::vector<Candidate> tried = {bench.default_candidate(SweepBench::problem())};
  for (const Trial& trial : db.trials())
    if (!(trial.key.candidate == tried.front())) tried.push_back(trial.key.candidate);
  return tried;
}

class Sweep : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tried_ = tried_by_quick(); }
  /// The i-th candidate of a quick sweep; 0 is the default.
  static const Candidate& candidate(std::size_t i) { return tried_.at(i); }
  static std::string config(std::size_t i) { return short_config(candidate(i)); }
  static std::size_t count() { return tried_.size(); }
  static bool is_tried(const Candidate& c) { return std::find(tried_.begin(), tried_.end(), c) != tried_.end(); }

  SweepBench bench;
  Database db = Database::in_memory();

 private:
  inline static std::vector<Candidate> tried_;
};

}  // namespace flashtune
