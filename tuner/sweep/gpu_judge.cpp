// Validation, times and races, as trials.
#include "tuner/sweep/gpu_judge.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cache/error.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"
#include "tuner/time/stats.h"
#include "tuner/time/timer.h"

namespace flashtune {

/// How long a field of contenders is timed, and who goes on.
struct GpuJudge::Race {
  int rounds, max_rounds;
  double target_spread;
  std::size_t at_most;  // contenders that start
  bool last = false;    // in graphs whatever the length, and with warm times
};

namespace {

constexpr double kSlack = 0.02;  // whoever is this close to the fastest goes on, as far as the field has room
constexpr double kNeverTooLongForAGraph = 1e12;
constexpr int kLastStage = 3;  // the number of races

Error device_error(const Error& error, const char* while_doing) {
  return Error(error.kind(), fmt::format("{}: {}", while_doing, error.what()));
}

}  // namespace

GpuJudge::GpuJudge(SweptProblem& swept, Device& device, double launch_limit_s)
    : swept_(swept),
      launch_limit_s_(launch_limit_s),
      scale_(default_scale(swept.problem)),
      device_(device, launch_limit_s, [this] { store_late_launch(); }),
      workspace_(device_) {}

std::vector<Candidate> GpuJudge::incumbents() {
  const auto answer = swept_.book.answer(Grade::kMeasured);
  if (!answer || rejection_of(answer->candidate, swept_.problem, swept_.limits) != Rejection::kNone) return {};
  return {answer->candidate};
}

// --- waves

void GpuJudge::take(CompiledCandidate& ready) {
  const bool fresh = ready.trial.outcome == Outcome::kInFlight;
  if (!fresh) swept_.record(ready.trial, ready.known);
  if (!fresh && ready.trial.outcome != Outcome::kMeasured) return;
  Contender contender;
  contender.trial = std::move(ready.trial);
  contender.cubin = ready.compiled->cubin;
  contender.plan = make_plan(contender.trial.key.candidate, swept_.problem, swept_.limits);
  if (fresh)
    try_out(contender);
  else if (contender.trial.timing.warm_us > 0)
    contender.stage = kLastStage;
  if (contender.trial.outcome == Outcome::kMeasured) contenders_.push_back(std::move(contender));
}

void GpuJudge::try_out(Contender& contender) {
  Trial& trial = contender.trial;
  swept_.book.begin(trial);
  suspect_ = trial;
  std::string detail;
  std::string skip, restart;  // why this problem, or this process, cannot go on
  Outcome outcome = Outcome::kInFlight;
  try {
    outcome = judge_and_time(contender, detail);
  } catch (const Error& error) {
    detail = error.what();
    switch (error.kind()) {
      case ErrorKind::kDeviceLost: outcome = Outcome::kCrashed, restart = detail; break;
      case ErrorKind::kOutOfMemory: outcome = Outcome::kOutOfMemory, skip = detail; break;
      case ErrorKind::kDevice: outcome = Outcome::kOverResources; break;
      default: throw;
    }
  }
  suspect_ = {};
  measured_anew_ = true;
  swept_.book.end(trial, outcome, detail);
  swept_.record(trial, false);
  if (!restart.empty()) throw MustRestart(restart);
  if (!skip.empty()) throw ProblemSkipped(skip);
}

Outcome GpuJudge::judge_and_time(Contender& contender, std::string& detail) {
  const Candidate& candidate = contender.trial.key.candidate;
  const TileSteps steps = tile_steps(candidate);
  const Verdict verdict = validator().judge(
      [&](const Problem& problem, const Tensors& tensors) {
        const Plan plan = problem == swept_.problem ? contender.plan : make_plan(candidate, problem, swept_.limits);
        launch(contender, plan, tensors, workspace_.poisoned(plan), nullptr);
      },
      steps.rows, steps.keys);
  if (!verdict.ok) {
    detail = verdict.why;
    return Outcome::kWrong;
  }
  contender.trial.timing = time({&contender}, {1, 2, 0.02, 1}).front();
  if (contender.trial.timing.samples == 0) throw Error(ErrorKind::kDevice, "no time could be taken");
  return Outcome::kMeasured;
}

// --- races

void GpuJudge::finish() {
  constexpr std::array<Race, kLastStage> kRaces = {{{3, 4, 0.01, 40}, {6, 8, 0.007, 14}, {15, 40, 0.003, 6, true}}};
  std::vector<Contender*> field = by_time();
  for (std::size_t i = 0; i < kRaces.size() && !field.empty(); ++i) {
    if (swept_.expired()) {
      swept_.done.budget_ended = true;
      return;
    }
    field = race(field, kRaces[i], fmt::format("time {}/{}", i + 1, kRaces.size()));
    crown(field);
  }
}

bool GpuJudge::settled() {
  // A warm time marks whoever was in a last race. When nothing new was measured since, nothing needs another.
  if (measured_anew_) return false;
  const std::optional<Best> best = swept_.book.stored_best(Grade::kMeasured);
  const auto raced = [&](const Candidate& candidate) {
    const Contender* contender = find(candidate);
    return contender != nullptr && contender->trial.timing.warm_us > 0;
  };
  if (!best || !raced(best->candidate) || (find(swept_.standing) != nullptr && !raced(swept_.standing))) return false;
  swept_.done.best = best;
  rank();
  return true;
}

std::vector<GpuJudge::Contender*> GpuJudge::race(const std::vector<Contender*>& field, const Race& race,
                                                 const std::string& stage) {
  std::vector<Timing> before;
  before.reserve(field.size());
  for (const Contender* contender : field) before.push_back(contender->trial.timing);
  const double keep = std::min(1.0, static_cast<double>(race.at_most) / 2 / static_cast<double>(field.size()));
  std::vector<Contender*> racing;
  for (const int i : survivors(before, keep, kSlack))
    if (racing.size() < race.at_most) racing.push_back(field[static_cast<std::size_t>(i)]);
  Contender* incumbent = find(swept_.standing);
  if (incumbent != nullptr && std::find(racing.begin(), racing.end(), incumbent) == racing.end())
    racing.push_back(incumbent);
  // Two processes died in a race with these: they keep the time that they have.
  std::erase_if(racing, [](const Contender* c) { return c->trial.attempts >= 2; });
  if (racing.empty()) return racing;

  swept_.emit(Progress{stage, 0, static_cast<int>(racing.size())});
  std::vector<Trial*> trials;
  for (Contender* contender : racing) {
    ++contender->trial.attempts;
    trials.push_back(&contender->trial);
  }
  swept_.book.update(trials);
  std::vector<Timing> timings;
  try {
    timings = time(racing, race);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kDeviceLost)
      throw MustRestart(device_error(error, "while the finalists were timed").what());
    for (Trial* trial : trials) --trial->attempts;
    swept_.book.update(trials);
    throw ProblemSkipped(device_error(error, "while the finalists were timed").what());
  }
  for (std::size_t i = 0; i < racing.size(); ++i) {
    if (timings[i].samples > 0) racing[i]->trial.timing = timings[i];
    // What an earlier process died in may have been a later race than this one: that stays on record until the last.
    racing[i]->trial.attempts = race.last ? 0 : racing[i]->trial.attempts - 1;
    ++racing[i]->stage;
  }
  swept_.book.update(trials);
  for (const Contender* contender : racing) swept_.emit(TrialDone{contender->trial, false});
  swept_.emit(Progress{stage, static_cast<int>(racing.size()), static_cast<int>(racing.size())});
  return racing;
}

void GpuJudge::crown(const std::vector<Contender*>& field) {
  std::vector<Timing> timings;
  int incumbent = -1;
  for (std::size_t i = 0; i < field.size(); ++i) {
    timings.push_back(field[i]->trial.timing);
    if (field[i]->trial.key.candidate == swept_.standing) incumbent = static_cast<int>(i);
  }
  // A budget may end a sweep before its turn comes to what was best so far: that stays the answer.
  const std::optional<Best> before = swept_.done.budget_ended ? swept_.book.answer(Grade::kMeasured) : std::nullopt;
  if (before && find(before->candidate) == nullptr) {
    swept_.done.best = swept_.book.stored_best(Grade::kMeasured);
  } else if (!field.empty()) {
    const Contender* standing = find(swept_.standing);
    const Contender& winner = *field[static_cast<std::size_t>(rank_winner(timings, incumbent))];
    swept_.done.best = swept_.book.put_best(winner.trial, Grade::kMeasured,
                                            standing != nullptr ? standing->trial.timing.median_us : 0);
  }
  rank();
}

void GpuJudge::rank() {
  // Times of different races are not compared: whoever came further is better.
  std::vector<const Contender*> order;
  for (const Contender& contender : contenders_) order.push_back(&contender);
  const auto crowned = [&](const Contender* c) {
    return swept_.done.best && c->trial.key.candidate == swept_.done.best->candidate;
  };
  std::stable_sort(order.begin(), order.end(), [&](const Contender* a, const Contender* b) {
    if (crowned(a) != crowned(b)) return crowned(a);
    if (a->stage != b->stage) return a->stage > b->stage;
    return a->trial.timing.median_us < b->trial.timing.median_us;
  });
  swept_.done.ranked.clear();
  for (const Contender* contender : order) swept_.done.ranked.push_back(contender->trial);
}

// --- the device

void GpuJudge::launch(Contender& contender, const Plan& plan, const Tensors& tensors, DevicePtr workspace,
                      Stream stream) {
  if (contender.loaded.kernel == nullptr)
    contender.loaded = load_candidate(device_, contender.cubin, contender.trial.key.candidate,
                                      traits_of(swept_.problem), swept_.limits);
  launch_plan(device_, contender.loaded, plan, tensors, workspace, stream);
}

std::vector<Timing> GpuJudge::time(const std::vector<Contender*>& field, const Race& race) {
  TimingInputs& tensors = inputs();
  std::vector<TimedLaunch> launches;
  for (Contender* contender : field) {
    launches.push_back([this, contender, &tensors](Stream stream, int set) {
      launch(*contender, contender->plan, tensors.set(set), workspace_.of(contender->plan), stream);
    });
    launches.back()(nullptr, 0);  // loads the kernel and makes the workspace, which a capture forbids
    device_.synchronize();        // each for itself: the watchdog waits for one launch, not for all
  }
  TimerOptions timer;
  timer.sets = tensors.sets();
  timer.rounds = race.rounds;
  timer.max_rounds = race.max_rounds;
  timer.target_spread = race.target_spread;
  timer.warm = race.last;
  if (race.last) timer.graph_below_us = kNeverTooLongForAGraph;
  timer.expired = [this] { return swept_.expired(); };
  return time_interleaved(device_, launches, timer);
}

TimingInputs& GpuJudge::inputs() {
  if (inputs_ == nullptr) inputs_ = std::make_unique<TimingInputs>(device_, swept_.problem, scale_);
  return *inputs_;
}

Validator& GpuJudge::validator() {
  if (validator_ == nullptr) validator_ = std::make_unique<Validator>(device_, swept_.problem, scale_);
  return *validator_;
}

/// On the watchdog's thread, while this one hangs in a call. In a race there is no single suspect; the attempts
/// committed before it are the record.
void GpuJudge::store_late_launch() noexcept {
  try {
    if (!suspect_.key.cubin_digest.empty())
      swept_.book.end(suspect_, Outcome::kTimedOut, fmt::format("a launch took more than {} s", launch_limit_s_));
  } catch (...) {  // the process must end all the same; the attempt is on record
  }
  _exit(kExitRestart);
}

// --- bookkeeping

std::vector<Candidate> GpuJudge::fastest_first() {
  std::vector<Candidate> order;
  for (const Contender* contender : by_time()) order.push_back(contender->trial.key.candidate);
  return order;
}

std::vector<GpuJudge::Contender*> GpuJudge::by_time() {
  std::vector<Contender*> order;
  for (Contender& contender : contenders_) order.push_back(&contender);
  std::stable_sort(order.begin(), order.end(), [](const Contender* a, const Contender* b) {
    return a->trial.timing.median_us < b->trial.timing.median_us;
  });
  return order;
}

GpuJudge::Contender* GpuJudge::find(const Candidate& candidate) {
  for (Contender& contender : contenders_)
    if (contender.trial.key.candidate == candidate) return &contender;
  return nullptr;
}

}  // namespace flashtune
