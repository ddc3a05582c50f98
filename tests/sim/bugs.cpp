// Runs what is broken, and compares who noticed with who should.
#include "tests/sim/bugs.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "tests/sim/races.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

/// What this build can see of the lanes that a bug is caught by.
std::string visible_here(const std::string& letters) {
  std::string visible;
  for (const char letter : letters)
    if ((letter == 'T') == finds_races()) visible += letter;
  return visible;
}

}  // namespace

Caught run_lanes(AttentionCase& attention, SimDevice& device, const SimKernel& kernel, int workers) {
  Caught caught;
  std::vector<Lane> all = lanes(4);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].options.threads = finds_races() ? workers : 1;
    device.set_options(all[i].options);
    const RaceCounter races;
    const std::string fault = attention.fault_of(kernel);
    if (finds_races()) {
      if (races.count() > 0) return {"T", "a data race under " + all[i].name};
      continue;
    }
    const char letter = i == 0 ? 'L' : i == 1 ? 'E' : 'R';
    if (fault.empty() || caught.letters.find(letter) != std::string::npos) continue;
    caught.letters += letter;
    if (caught.report.empty()) caught.report = fault;
  }
  return caught;
}

SimKernel load_changed(SimDevice& device, const TextChange& change, const Candidate& candidate,
                       const KernelTraits& traits) {
  const ScratchFolder folder;
  write_templates(folder.path(), {change});
  SimCompiler::Options options;
  options.template_root = folder.path();
  return load_kernel(device, SimCompiler(options), candidate, traits);
}

void print_legend() {
  std::printf(finds_races() ? "T a data race\n" : "L lifo/late, E lifo/early, R some random schedule\n");
}

void expect_as_told(const Bug& bug, const Caught& caught) {
  std::printf("  %-58s %-4s %.200s\n", bug.name, caught.letters.c_str(), caught.report.c_str());
  EXPECT_EQ(caught.letters, visible_here(bug.caught_by)) << bug.name;
  EXPECT_NE(bug.caught_by, "") << bug.name << ": no lane of any build catches it";
}

void expect_nothing_caught(const Problem& problem, const std::vector<const char*>& configs,
                           CandidateOfText candidate_of) {
  SimDevice device(80);
  AttentionCase attention(device, problem);
  for (const char* config : configs) {
    const SimKernel kernel = load_kernel(device, compiler(), candidate_of(config), traits_of(problem));
    const Caught caught = run_lanes(attention, device, kernel);
    EXPECT_EQ(caught.letters, "") << config << ": " << caught.report;
  }
}

void expect_each_caught(const Problem& problem, const std::vector<AnyLaneBug>& bugs, CandidateOfText candidate_of) {
  SimDevice device(80);
  AttentionCase attention(device, problem);
  print_legend();
  for (const AnyLaneBug& bug : bugs) {
    const SimKernel broken = load_changed(device, bug.change, candidate_of(bug.config), traits_of(problem));
    const Caught caught = run_lanes(attention, device, broken);
    std::printf("  %-50s %-4s %.150s\n", bug.name, caught.letters.c_str(), caught.report.c_str());
    EXPECT_NE(caught.letters, "") << bug.name;
  }
}

}  // namespace flashtune
