// What the tests of the simulated device share: kernels compiled once, attention problems with their answers, and the
// schedules that together find what no one of them does.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "runtime/launch/loaded_candidate.h"
#include "sim/sim_compiler.h"
#include "sim/sim_device.h"
#include "tuner/judge/output_check.h"
#include "tuner/judge/validate.h"
#include "tuner/tensors/inputs.h"

namespace flashtune {

constexpr int kArch = 90;  // the one with the most shared memory, so with all configs
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // several times slower: fewer launches of each config, parts of covers
#else
constexpr bool kSanitized = false;
#endif

/// One for all tests of a program.
SimCompiler& compiler();

/// A schedule with a name: "lifo/late", "random/random #2".
struct Lane {
  std::string name;
  SimOptions options;
};
/// Last in first out with late and with early copies, and `seeds` random ones.
std::vector<Lane> lanes(int seeds);

/// A candidate, compiled and loaded.
struct SimKernel {
  Candidate candidate;
  LoadedCandidate loaded;
};
/// Throws Error(kCompile) with the log of what is refused.
SimKernel load_kernel(SimDevice& device, const SimCompiler& compiler, const Candidate& candidate,
                      const KernelTraits& traits);
void launch_kernel(Device& device, const Candidate& candidate, const LoadedCandidate& kernel, const Problem& problem,
                   const Tensors& tensors);

/// In which lanes the lengths beside a kernel's tiles are run, too; with a sanitizer in none.
enum class EdgesIn { kEveryLane, kFirstLane };
/// Compiles the candidate for `problem`, which is the validator's; fails the test where the kernel is not right for
/// every kind of input, under every one of lanes(seeds); with a sanitizer, for two kinds and under none of the seeds.
void expect_right(SimDevice& device, Validator& validator, const Candidate& candidate, const Problem& problem,
                  int seeds, EdgesIn edges);

/// A small problem with every row of its answer in double precision. Its tensors are allocations of their exact size,
/// so that a step outside is seen.
class AttentionCase {
 public:
  AttentionCase(Device& device, const Problem& problem, InputKind kind = InputKind::kNormal,
                const Lengths& lengths = {});
  /// The same of inputs of one's own, laid out for without_pages(problem).
  AttentionCase(Device& device, const Problem& problem, HostTensors inputs, float scale, const Lengths& lengths = {});

  /// What the device reported, or what is wrong with the output; empty when the kernel is right.
  std::string fault_of(const Candidate& candidate, const LoadedCandidate& kernel);
  std::string fault_of(const SimKernel& kernel) { return fault_of(kernel.candidate, kernel.loaded); }

  /// Of the last run that nothing was wrong with, or was wrong only in its values.
  OutputView output() const { return {output_.data(), output_lse_.data()}; }
  const ErrorBounds& bounds() const { return bounds_; }
  /// The answer, a row for each of the output.
  const std::vector<ReferenceRow>& rows() const { return rows_; }

 private:
  Device& device_;
  Problem problem_;
  Lengths lengths_;
  DeviceBuffer q_, k_, v_, o_, lse_, device_lengths_, table_;
  Tensors tensors_;
  std::vector<char> output_;  // elements of the problem's type
  std::vector<float> output_lse_;
  std::vector<ReferenceRow> rows_;
  ErrorBounds bounds_;
};

/// A problem of one layout, bshd unless told otherwise.
Problem small_problem(int heads, int kv_heads, int seq_q, int seq_kv, int head_dim, bool causal = false, int window = 0,
                      Dtype dtype = Dtype::kBf16);
float scale_of(const Problem& problem);

/// One new row for each sequence of `lengths`, in a cache of `seq_kv`.
Problem small_decode(const Lengths& lengths, int heads, int kv_heads, int seq_kv, int head_dim, int page_size = 0);

/// A copy of the template tree in a folder, to break: each change must match its text exactly once.
struct TextChange {
  std::string file, from, to;
};
void write_templates(const std::filesystem::path& root, const std::vector<TextChange>& changes);

}  // namespace flashtune
