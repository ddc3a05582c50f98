// Hooks of ThreadSanitizer's runtime.
#include "tests/sim/races.h"

#include <atomic>

namespace {
std::atomic<bool> counting{false};
std::atomic<int> races{0};
}  // namespace

#if defined(__SANITIZE_THREAD__)
// One bug differs from the next by what the kernel does, not by where the simulator notices: equal stacks are not equal
// races.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "suppress_equal_stacks=0 suppress_equal_addresses=0"; }

namespace __tsan {
class ReportDesc;
bool OnReport(const ReportDesc* report, bool suppressed);
/// Called before a report is printed; true: it is not, and does not count against the process.
bool OnReport(const ReportDesc*, bool suppressed) {
  if (!counting) return suppressed;
  ++races;
  return true;
}
}  // namespace __tsan
#endif

namespace flashtune {

bool finds_races() {
#if defined(__SANITIZE_THREAD__)
  return true;
#else
  return false;
#endif
}

RaceCounter::RaceCounter() { races = 0, counting = true; }
RaceCounter::~RaceCounter() { counting = false; }
int RaceCounter::count() const { return races; }

}  // namespace flashtune
