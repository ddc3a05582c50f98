// The trials of one problem on one device, in the database: what is known, what is begun, how it ended.
#pragma once

#include <optional>
#include <string>

#include "cache/database.h"
#include "tuner/sweep/sweep.h"

namespace flashtune {

/// What all trials of a sweep of one problem have in common.
struct Circumstances {
  DeviceKey device;
  Problem problem;
  std::string policy;
  std::string driver;  // empty when modelled
  std::string compiler;
};

class TrialBook {
 public:
  /// again_since: nothing measured, modelled or refused counts as known but what was recorded after this time (UTC);
  /// "": all of it does.
  TrialBook(Database& db, Circumstances circumstances, std::string again_since);

  /// A trial that has not happened yet. `digest`: of the cubin, or what refusal_digest() gives for one that does not
  /// exist.
  Trial draft(const Candidate& candidate, const std::string& digest, const KernelFacts& facts = {}) const;

  /// How the same trial ended before, when that still holds: what the compiler showed and models always; what a launch
  /// showed, under this driver only. A trial found in flight for the second time is stored as kCrashed here. Being out
  /// of memory is never known: memory comes back.
  std::optional<Trial> known(const Trial& draft);

  /// Commits an attempt. `draft` gets the id and the attempts of the stored row.
  void begin(Trial& draft);
  /// Commits the end; `trial` is as stored.
  void end(Trial& trial, Outcome outcome, const std::string& detail = {});
  /// Commits timings and attempts of trials that are already measured, all or none.
  void update(const std::vector<Trial*>& trials);

  /// Stores `winner` as the answer for the problem.
  Best put_best(const Trial& winner, Grade grade, double default_us);
  /// What is stored as this problem's answer, whichever driver and timing policy it is of.
  std::optional<Best> answer(Grade grade) const;
  /// That, if it still holds here.
  std::optional<Best> stored_best(Grade grade) const;

 private:
  Database& db_;
  Circumstances about_;
  std::string again_since_;
};

/// Identifies a candidate that does not compile by what it was made of, so that it is refused without compiling it
/// again until the templates, the options or the compiler change.
std::string refusal_digest(const Source& source, const std::string& compiler_version);

/// The first error of a compiler's log, for people.
std::string first_error(const std::string& log);

}  // namespace flashtune
