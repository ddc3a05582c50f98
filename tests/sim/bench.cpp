// Compiles, runs and judges on the simulated device.
#include "tests/sim/bench.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cache/codec.h"
#include "cache/error.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "tests/support/uploaded.h"
#include "tuner/tensors/device_inputs.h"
#include "tuner/tensors/fence.h"

namespace flashtune {
namespace fs = std::filesystem;

SimCompiler& compiler() {
  static SimCompiler one;
  return one;
}

std::vector<Lane> lanes(int seeds) {
  const auto lane = [](Schedule schedule, CopyTiming copies, std::uint64_t seed) {
    SimOptions options;
    options.schedule = schedule;
    options.copies = copies;
    options.seed = seed;
    return options;
  };
  std::vector<Lane> all = {{"lifo/late", lane(Schedule::kLifo, CopyTiming::kLate, 1)},
                           {"lifo/early", lane(Schedule::kLifo, CopyTiming::kEarly, 1)}};
  for (int seed = 1; seed <= seeds; ++seed)
    all.push_back({fmt::format("random #{}", seed),
                   lane(Schedule::kRandom, CopyTiming::kRandom, static_cast<std::uint64_t>(seed))});
  return all;
}

SimKernel load_kernel(SimDevice& device, const SimCompiler& compiler, const Candidate& candidate,
                      const KernelTraits& traits) {
  const int arch = device.info().key.arch;
  const Compiled compiled = compiler.compile({candidate, traits, arch});
  if (!compiled.ok) throw Error(ErrorKind::kCompile, compiled.log);
  return {candidate, load_candidate(device, compiled.cubin, candidate, traits, limits_of(arch))};
}

void launch_kernel(Device& device, const Candidate& candidate, const LoadedCandidate& kernel, const Problem& problem,
                   const Tensors& tensors) {
  const Plan plan = make_plan(candidate, problem, limits_of(device.info().key.arch));
  Workspace workspace(device);
  launch_plan(device, kernel, plan, tensors, workspace.poisoned(plan), nullptr);
}

void expect_right(SimDevice& device, Validator& validator, const Candidate& candidate, const Problem& problem,
                  int seeds, EdgesIn edges) {
  const SimKernel kernel = load_kernel(device, compiler(), candidate, traits_of(problem));
  const TileSteps steps = tile_steps(candidate);
  bool with_edges = !kSanitized, first = true;
  // A sanitizer judges accesses, whatever is in them: large logits are there for the branches that only they take, and
  // random schedules for orders that only answers depend on.
  for (const Lane& lane : lanes(kSanitized ? 0 : seeds)) {
    const int kinds = !kSanitized ? kInputKinds : first ? static_cast<int>(InputKind::kLargeLogits) + 1 : 1;
    device.set_options(lane.options);
    try {
      const Validator::LaunchFn launch = [&](const Problem& p, const Tensors& tensors) {
        launch_kernel(device, candidate, kernel.loaded, p, tensors);
      };
      const Verdict verdict =
          with_edges ? validator.judge(launch, steps.rows, steps.keys) : validator.judge_without_edges(launch, kinds);
      EXPECT_TRUE(verdict.ok) << lane.name << ", " << candidate_to_text(candidate) << ", " << problem_to_text(problem)
                              << ": " << verdict.why;
    } catch (const std::exception& error) {
      ADD_FAILURE() << lane.name << ", " << candidate_to_text(candidate) << ": " << error.what();
    }
    if (edges == EdgesIn::kFirstLane) with_edges = false;
    first = false;
  }
}

Problem small_problem(int heads, int kv_heads, int seq_q, int seq_kv, int head_dim, bool causal, int window,
                      Dtype dtype) {
  Problem p;
  p.dtype = dtype;
  p.heads = heads;
  p.kv_heads = kv_heads;
  p.seq_q = seq_q;
  p.seq_kv = seq_kv;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = causal;
  p.window = window;
  return with_layout(p, Layout::kBshd);
}

float scale_of(const Problem& problem) { return 1.f / std::sqrt(static_cast<float>(problem.head_dim)); }

AttentionCase::AttentionCase(Device& device, const Problem& problem, InputKind kind, const Lengths& lengths)
    : AttentionCase(device, problem, make_inputs(without_pages(problem), kind, 7, 0, lengths), scale_of(problem),
                    lengths) {}

AttentionCase::AttentionCase(Device& device, const Problem& problem, HostTensors inputs, float scale,
                             const Lengths& lengths)
    : device_(device), problem_(problem), lengths_(lengths) {
  const Problem flat = without_pages(problem);
  rows_ = reference_rows(flat, inputs, scale, sample_rows(problem, 1 << 20, 1), 0, lengths);
  bounds_ = ErrorBounds(problem, rows_);
  if (problem.page_size > 0) {
    PagedCache cache = into_pages(problem, inputs, lengths, 3);
    table_ = uploaded(device, cache.table);
    tensors_.page_table = table_.get();
    tensors_.num_pages = cache.num_pages;
    tensors_.max_pages = cache.max_pages;
    inputs.k = std::move(cache.k), inputs.v = std::move(cache.v);
  } else {
    poison_past_lengths(problem, inputs, lengths);
  }
  if (!lengths.empty()) device_lengths_ = uploaded(device, lengths);
  q_ = uploaded(device, inputs.q);
  k_ = uploaded(device, inputs.k);
  v_ = uploaded(device, inputs.v);
  o_ = DeviceBuffer(device, o_bytes(problem));
  lse_ = DeviceBuffer(device, lse_bytes(problem));
  tensors_.q = q_.get(), tensors_.k = k_.get(), tensors_.v = v_.get(), tensors_.o = o_.get(), tensors_.lse = lse_.get();
  tensors_.lengths = device_lengths_.get();
  tensors_.scale = scale;
}

Problem small_decode(const Lengths& lengths, int heads, int kv_heads, int seq_kv, int head_dim, int page_size) {
  Problem p = small_problem(heads, kv_heads, 1, seq_kv, head_dim);
  p.op = Op::kDecode;
  p.batch = static_cast<int>(lengths.size());
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

std::string AttentionCase::fault_of(const Candidate& candidate, const LoadedCandidate& kernel) {
  device_.fill(o_.get(), kPoison, o_.size());
  device_.fill(lse_.get(), kPoison, lse_.size());
  const Plan plan = make_plan(candidate, problem_, limits_of(device_.info().key.arch));
  Workspace workspace(device_);
  const DevicePtr scratch = workspace.poisoned(plan);
  try {
    launch_plan(device_, kernel, plan, tensors_, scratch, nullptr);
    device_.synchronize();
  } catch (const Error& error) {
    return error.what();
  }
  std::vector<char> head(plan.workspace_head);
  device_.copy_out(head.data(), scratch, head.size());
  if (std::any_of(head.begin(), head.end(), [](char byte) { return byte != 0; }))
    return "the head of the workspace is not zero after the launch, as the next one needs it";
  output_.resize(o_.size());
  output_lse_.resize(lse_.size() / 4);
  device_.copy_out(output_.data(), o_.get(), o_.size());
  device_.copy_out(output_lse_.data(), lse_.get(), lse_.size());
  const OutputFault fault = scan_output(problem_, output(), {}, bounds_, lengths_);
  return fault.found ? fault.why : compare_with_oracle(problem_, output(), rows_, bounds_).why;
}

void write_templates(const fs::path& root, const std::vector<TextChange>& changes) {
  for (auto [path, text] : Templates::embedded().files()) {
    for (const TextChange& change : changes) {
      if (change.file != path) continue;
      const std::size_t at = text.find(change.from);
      if (at == std::string::npos || text.find(change.from, at + 1) != std::string::npos)
        throw Error(ErrorKind::kInternal, fmt::format("{} does not hold once: {}", path, change.from));
      text.replace(at, change.from.size(), change.to);
    }
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  for (const TextChange& change : changes)
    if (Templates::embedded().files().count(change.file) == 0)
      throw Error(ErrorKind::kInternal, fmt::format("no template {}", change.file));
}

}  // namespace flashtune
