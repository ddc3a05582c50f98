// Compiles, runs and judges on the simulated device.
#include "tests/sim/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cache/codec.h"
#include "cache/error.h"
#include "runtime/dispatch/plan.h"
#include "tuner/fence.h"

namespace flashtune {
namespace fs = std::filesystem;

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
  const auto smem = static_cast<unsigned>(resources_of(candidate, traits, limits_of(arch)).smem_bytes);
  return {candidate, device.load(compiled.cubin, entry_of(candidate), smem)};
}

void launch_kernel(Device& device, const Candidate& candidate, const LoadedKernel& kernel, const Problem& problem,
                   const Tensors& tensors) {
  const Plan plan = make_plan(candidate, problem, limits_of(device.info().key.arch));
  const PrefillParams params = bind(plan, tensors);
  Launch launch;
  std::copy(std::begin(plan.grid), std::end(plan.grid), launch.grid);
  launch.block = plan.block;
  launch.smem_bytes = plan.smem_bytes;
  launch.params = &params;
  device.launch(kernel, launch);
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

AttentionCase::AttentionCase(Device& device, const Problem& problem, InputKind kind)
    : device_(device), problem_(problem) {
  const HostTensors inputs = make_inputs(problem, kind, 7);
  const auto upload = [&](const std::vector<std::uint16_t>& tensor) {
    DeviceBuffer buffer(device, 2 * tensor.size());
    device.copy_in(buffer.get(), tensor.data(), buffer.size());
    return buffer;
  };
  q_ = upload(inputs.q);
  k_ = upload(inputs.k);
  v_ = upload(inputs.v);
  o_ = DeviceBuffer(device, 2 * span_of(problem.o, problem.batch, problem.seq_q, problem.heads, problem.head_dim_v));
  lse_ = DeviceBuffer(device, 4 * static_cast<std::size_t>(problem.batch * problem.heads * problem.seq_q));
  rows_ = reference_rows(problem, inputs, scale_of(problem), sample_rows(problem, 1 << 20, 1));
  bounds_ = ErrorBounds(problem, rows_);
}

std::string AttentionCase::fault_of(const Candidate& candidate, const LoadedKernel& kernel) {
  device_.fill(o_.get(), kPoison, o_.size());
  device_.fill(lse_.get(), kPoison, lse_.size());
  try {
    launch_kernel(device_, candidate, kernel, problem_,
                  {q_.get(), k_.get(), v_.get(), o_.get(), lse_.get(), scale_of(problem_)});
    device_.synchronize();
  } catch (const Error& error) {
    return error.what();
  }
  output_.resize(o_.size() / 2);
  output_lse_.resize(lse_.size() / 4);
  device_.copy_out(output_.data(), o_.get(), o_.size());
  device_.copy_out(output_lse_.data(), lse_.get(), lse_.size());
  const OutputFault fault = scan_output(problem_, output(), {}, bounds_);
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
