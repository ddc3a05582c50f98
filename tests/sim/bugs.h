// Bugs put into copies of the templates, and which lanes of the simulated device notice each.
#pragma once

#include <string>

#include "tests/sim/bench.h"

namespace flashtune {

/// Who catches a bug: L lifo/late, E lifo/early, R some random schedule, by a report of the device or a wrong answer;
/// T a data race that ThreadSanitizer sees under any of them: not where the device's report ends the launch before the
/// second access.
struct Bug {
  const char* name;
  const char* config;
  TextChange change;
  std::string caught_by;
};

/// The letters of the lanes that caught something, and the first report.
struct Caught {
  std::string letters, report;
};

/// One block runs after the other, so that who catches what is the same each time. In a build with ThreadSanitizer only
/// races count, which the plain build cannot see, and the first lane that shows one is the last: reports take long
/// there. `workers` run blocks then: with more than one, races of one block with another are seen, too, though not by
/// every launch.
Caught run_lanes(AttentionCase& attention, SimDevice& device, const SimKernel& kernel, int workers = 1);

/// The candidate compiled from templates with one change.
SimKernel load_changed(SimDevice& device, const TextChange& change, const Candidate& candidate,
                       const KernelTraits& traits);

/// What the letters of expect_as_told mean in this build.
void print_legend();
/// Prints a line of the table, and fails the test unless the bug was caught by the lanes that should.
void expect_as_told(const Bug& bug, const Caught& caught);

/// A bug of which it is asked that some lane catches it, whichever.
struct AnyLaneBug {
  const char* name;
  const char* config;
  TextChange change;
};
using CandidateOfText = Candidate(const char* config);
/// On sm_80: the kernels without a bug are right in every lane, and each bug is caught by one at least.
void expect_nothing_caught(const Problem& problem, const std::vector<const char*>& configs,
                           CandidateOfText candidate_of);
void expect_each_caught(const Problem& problem, const std::vector<AnyLaneBug>& bugs, CandidateOfText candidate_of);

}  // namespace flashtune
