// One rung after the other: choose its config, judge it, time it.
#include "tuner/ladder/ladder.h"

#include <fmt/format.h>

#include <algorithm>

#include "cache/error.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"
#include "tuner/tensors/device_inputs.h"
#include "tuner/tensors/inputs.h"
#include "tuner/tensors/timing_inputs.h"
#include "tuner/time/timer.h"

namespace flashtune {
namespace {

/// Launches a step's kernel or kernels.
using StepLaunch = std::function<void(const Problem&, const Tensors&, Stream)>;

/// A copy on which rungs are proven.
Problem small_enough_to_prove(const Problem& problem) {
  const int group = problem.heads / problem.kv_heads;
  Problem p = problem;
  p.batch = std::min(p.batch, 2);
  p.kv_heads = std::min(p.kv_heads, 2);
  p.heads = p.kv_heads * group;
  return with_layout(p, layout_of(problem));
}

/// Why the unfused kernels cannot compute a problem; "" when they can.
std::string unfused_why_not(const Problem& p) {
  if (p.heads != p.kv_heads) return "the unfused kernels know no groups of query heads";
  if (p.window > 0) return "the unfused kernels know no window";
  if (layout_of(p) != Layout::kBhsd) return "the unfused kernels need --layout bhsd";
  if (p.seq_kv < 1) return "the unfused kernels need a key";
  return "";
}

}  // namespace

/// The unfused kernels on a whole problem, in parts whose scores fit a buffer.
class Ladder::UnfusedAttention {
 public:
  UnfusedAttention(Device& device, const std::string& cubin) : device_(device), kernels_(device, cubin) {}

  void launch(const Problem& p, const Tensors& t, Stream stream) {
    constexpr double kMostBytes = 0x1p31;  // of scores
    const double head_bytes = 4.0 * p.seq_q * p.seq_kv;
    const int heads = p.batch * p.heads;
    const int part = std::clamp(static_cast<int>(std::min(kMostBytes / head_bytes, 1e9)), 1, heads);
    const auto bytes = static_cast<std::size_t>(head_bytes * part);
    if (scores_.size() < bytes) scores_ = {}, scores_ = DeviceBuffer(device_, bytes);
    const auto rows_of = [](DevicePtr at, int first, int count, int rows, int cols) {
      return MatrixBatch{at + sizeof(float) * static_cast<std::size_t>(first) * rows * cols, count, rows, cols};
    };
    for (int first = 0; first < heads; first += part) {
      const int count = std::min(part, heads - first);
      kernels_.attention(
          rows_of(t.q, first, count, p.seq_q, p.head_dim), rows_of(t.k, first, count, p.seq_kv, p.head_dim),
          rows_of(t.v, first, count, p.seq_kv, p.head_dim_v), rows_of(t.o, first, count, p.seq_q, p.head_dim_v),
          {scores_.get(), count, p.seq_q, p.seq_kv}, t.scale, p.causal, stream);
    }
  }

 private:
  Device& device_;
  Unfused kernels_;
  DeviceBuffer scores_;
};

/// What the rungs of one climb share: a validator for each type and precision, and tensors to time on for each type.
struct Ladder::Ground {
  struct Proof {
    Problem problem;
    Validator validator;
  };
  std::vector<Proof> proofs;
  std::unique_ptr<TimingInputs> inputs;
  Dtype inputs_dtype = Dtype::kFp32;

  Validator& validator_for(Device& device, const Problem& p) {
    for (Proof& proof : proofs)
      if (proof.problem == p) return proof.validator;
    return proofs.emplace_back(Proof{p, Validator(device, p, default_scale(p))}).validator;
  }
  TimingInputs& inputs_for(Device& device, const Problem& p) {
    if (!inputs || inputs_dtype != p.dtype) {
      inputs.reset();  // both do not always fit
      inputs = std::make_unique<TimingInputs>(device, p, default_scale(p));
      inputs_dtype = p.dtype;
    }
    return *inputs;
  }
};

Ladder::Ladder(LadderHost host, SlowRungs slow) : host_(std::move(host)), limit_(slow) {}
Ladder::~Ladder() = default;

std::vector<LadderStep> Ladder::climb(const Problem& sizes) {
  std::vector<LadderStep> steps;
  Ground ground;
  const LadderStep* before = nullptr;
  for (const Rung& rung : ladder_rungs()) {
    const std::optional<Problem> problem = problem_on(rung, sizes);
    if (!problem) continue;
    LadderStep one = step(rung, *problem, ground);
    // What is new in a config says it best, unless all of it is.
    const bool kin = before != nullptr && before->candidate && one.candidate && rung.kind == Rung::Kind::kPreset &&
                     before->candidate->family() == one.candidate->family();
    one.changed = kin ? changes_between(*before->candidate, *one.candidate) : rung.what;
    if (one.timing && one.tflops() < limit_.tflops) slow_.insert(rung.name);
    steps.push_back(std::move(one));
    before = nullptr;
    for (const LadderStep& s : steps)
      if (s.ran()) before = &s;
  }
  return steps;
}

std::vector<KernelSpec> Ladder::kernels(const Problem& sizes) const {
  std::vector<KernelSpec> specs;
  for (const Rung& rung : ladder_rungs()) {
    const std::optional<Problem> problem = problem_on(rung, sizes);
    if (!problem || fault_of(*problem) != ProblemFault::kNone) continue;
    LadderStep step;
    step.problem = *problem;
    choose(rung, step);
    if (step.candidate) specs.push_back({*step.candidate, traits_of(*problem), host_.engine.limits().arch});
  }
  return specs;
}

LadderStep Ladder::step(const Rung& rung, const Problem& problem, Ground& ground) {
  LadderStep step;
  step.rung = name_on(rung, problem.dtype);
  step.problem = problem;
  if (const ProblemFault fault = fault_of(problem); fault != ProblemFault::kNone)
    step.skipped = text_of(fault);
  else
    choose(rung, step);
  if (slow_.count(rung.name) != 0 && problem.seq_q > limit_.rows && step.skipped.empty())
    step.skipped = fmt::format("under {} TFLOP/s it stops at {} rows", limit_.tflops, limit_.rows);
  if (!step.skipped.empty()) return step;
  try {
    prove_and_time(step, ground);
  } catch (const Error& error) {
    step.skipped = error.what();
  }
  return step;
}

void Ladder::choose(const Rung& rung, LadderStep& step) const {
  const EngineImpl& engine = host_.engine;
  switch (rung.kind) {
    case Rung::Kind::kUnfused: step.skipped = unfused_why_not(step.problem); break;
    case Rung::Kind::kPreset: {
      const PresetPoint point = preset_point(rung, step.problem, engine.limits());
      step.candidate = point.candidate;
      step.moved = point.moved;
      step.skipped = point.why_not;
      break;
    }
    case Rung::Kind::kTuned: {
      const Decision decision = engine.decide(step.problem);
      step.candidate = decision.candidate;
      step.grade = name_of(decision.grade);
      break;
    }
  }
}

void Ladder::prove_and_time(LadderStep& step, Ground& ground) {
  EngineImpl& engine = host_.engine;
  Device& device = engine.device();
  Workspace workspace(device);
  StepLaunch launch;
  if (step.candidate) {
    launch = [&](const Problem& p, const Tensors& tensors, Stream stream) {
      const DevicePtr scratch = workspace.of(make_plan(*step.candidate, p, engine.limits()));
      engine.forward_with(*step.candidate, p, tensors, scratch, stream);
    };
  } else {
    if (!unfused_) {
      const Compiled compiled = host_.compile_unfused();
      if (!compiled.ok) throw Error(ErrorKind::kCompile, "the unfused kernels: " + compiled.log);
      unfused_ = std::make_unique<UnfusedAttention>(device, compiled.cubin);
    }
    launch = [&](const Problem& p, const Tensors& tensors, Stream stream) { unfused_->launch(p, tensors, stream); };
  }

  const bool counted = static_cast<bool>(host_.take_counters);  // then of the whole problem
  // The first launch of a proof is that of ordinary inputs on the problem itself.
  bool first = true;
  const auto proof = [&](const Problem& p, const Tensors& tensors) {
    if (first && counted) host_.take_counters();
    launch(p, tensors, nullptr);
    if (first && counted) step.counters = host_.take_counters();
    first = false;
  };
  Validator& validator = ground.validator_for(device, counted ? step.problem : small_enough_to_prove(step.problem));
  step.verdict = step.candidate ? validator.judge_without_edges(proof) : validator.judge_output(proof);
  if (!step.verdict.ok) {
    step.skipped = "WRONG: " + step.verdict.why;
    return;
  }
  if (counted) return;
  const TimingInputs& inputs = ground.inputs_for(device, step.problem);
  TimerOptions options;
  options.sets = inputs.sets();
  const TimedLaunch one = [&](Stream stream, int set) { launch(step.problem, inputs.set(set), stream); };
  // Also so that memory that it needs is allocated before it is captured; its code the proof has loaded.
  const double first_us = device.time_each({[&](Stream stream) { one(stream, 0); }}).front();
  constexpr double kLongUs = 100e3;         // whose spread is small: two samples say as much as ten
  constexpr double kItsOwnAverageUs = 1e6;  // this much work, spread over all SMs, needs no second
  if (first_us > kItsOwnAverageUs) {
    Timing once;
    once.median_us = first_us;
    once.samples = 1;
    once.sm_clock_mhz = device.clock().sm_mhz;
    step.timing = once;
    return;
  }
  if (first_us > kLongUs) options.rounds = options.max_rounds = 2;
  step.timing = time_interleaved(device, {one}, options).front();
}

}  // namespace flashtune
