// Texts of configs, candidates, problems and devices: one that is read is written as a text that is read as the same.
#include "cache/codec.h"
#include "cache/keys.h"
#include "tests/fuzz/fuzz.h"

namespace flashtune {
namespace {

using fuzz::require;

void check_configs(const std::string& text) {
  for (std::size_t family = 0; family < std::variant_size_v<AnyConfig>; ++family) {
    const AnyConfig base = default_constructed(static_cast<Family>(family));
    AnyConfig config;
    if (!fuzz::accepts([&] { config = config_from_text(text, base); })) continue;
    require(config_from_text(config_to_text(config), base) == config, "a config is read as another");
  }
  Candidate candidate;
  if (fuzz::accepts([&] { candidate = candidate_from_text(text); }))
    require(candidate_from_text(candidate_to_text(candidate)) == candidate, "a candidate is read as another");
}

void check_problem(const std::string& text) {
  Problem problem;
  if (!fuzz::accepts([&] { problem = problem_from_text(text); })) return;
  // The words at a text's end are hard to come by, and easy to lose.
  for (const Precision precision : {problem.precision, Precision::kIeee, Precision::kTf32x3, Precision::kTf32}) {
    problem.precision = precision;
    if (fault_of(problem) != ProblemFault::kNone) continue;
    require(problem_from_text(problem_to_text(problem)) == problem, "a problem is read as another");
    const Problem bucket = bucket_of(problem);
    require(bucket_of(bucket) == bucket, "a bucket is in another bucket");
  }
}

void check_device(const std::string& text) {
  DeviceKey device;
  if (fuzz::accepts([&] { device = device_from_text(text); }))
    require(device_from_text(device_to_text(device)) == device, "a device is read as another");
}

}  // namespace
}  // namespace flashtune

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  flashtune::check_configs(text);
  flashtune::check_problem(text);
  flashtune::check_device(text);
  return 0;
}
