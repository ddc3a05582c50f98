// The steps of one problem's sweep on a GPU.
#include "tuner/sweep/problem_sweep.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cache/error.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"
#include "tuner/time/stats.h"
#include "tuner/time/timer.h"

namespace flashtune {

/// How long a field of contenders is timed, and who goes on.
struct ProblemSweep::Race {
  int rounds, max_rounds;
  double target_spread;
  std::size_t at_most;  // contenders that start
  bool last = false;    // in graphs whatever the length, and with warm times
};

namespace {

/// Thrown when this problem cannot go on and the next one can.
struct ProblemSkipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

constexpr double kSlack = 0.02;  // whoever is this close to the fastest goes on, as far as the field has room
constexpr double kNeverTooLongForAGraph = 1e12;
constexpr int kLastStage = 3;  // the number of races

Error device_error(const Error& error, const char* while_doing) {
  return Error(error.kind(), fmt::format("{}: {}", while_doing, error.what()));
}

}  // namespace

ProblemSweep::ProblemSweep(Device& device, const SweepCompiler& compiler, Database& db, const SweepOptions& options,
                           const Problem& problem, std::optional<Clock::time_point> deadline, EmitFn emit)
    : compiler_(compiler),
      db_(db),
      options_(options),
      problem_(problem),
      deadline_(deadline),
      emit_(std::move(emit)),
      limits_(limits_of(device.info().key)),
      scale_(default_scale(problem)),
      default_(fallback(problem, limits_)),
      book_(db, {device.info().key, problem, kTimingPolicy, device.info().driver, compiler.version},
            options.again_since),
      device_(device, options.launch_limit_s, [this] { store_late_launch(); }),
      workspace_(device_) {
  done_.problem = problem;
  done_.standing = default_;
}

ProblemSweep::~ProblemSweep() = default;

void ProblemSweep::run(int index, int count) {
  const Clock::time_point begin = Clock::now();
  const Space space = enumerate(problem_, limits_);
  const auto stored = db_.trials_of(device_.info().key, problem_);
  const auto known =
      std::count_if(stored.begin(), stored.end(), [](const Trial& t) { return t.key.policy == kTimingPolicy; });
  emit_(ProblemStarted{problem_, index, count, space.enumerated, static_cast<int>(space.admitted.size()),
                       static_cast<int>(known), space.rejected});

  std::vector<Candidate> incumbents = {default_};
  const auto answer = book_.answer(Grade::kMeasured);  // of an older driver, too: it is likely to be good still
  if (answer && rejection_of(answer->candidate, problem_, limits_) == Rejection::kNone)
    incumbents.push_back(answer->candidate);
  const double l2_mib = static_cast<double>(device_.info().l2_bytes) / 0x1p20;
  Search search(options_.effort, space, incumbents, problem_, model_of(device_.info().key, l2_mib));
  try {
    while (!done_.budget_ended) {
      std::vector<Candidate> fastest;
      for (const Contender* contender : fastest_first()) fastest.push_back(contender->trial.key.candidate);
      const std::vector<Candidate> wave = search.next_wave(fastest);
      if (wave.empty()) break;
      screen(wave);
      if (settled_before()) {
        done_.best = book_.stored_best(Grade::kMeasured);
        rank();
        break;
      }
      crown(fastest_first());
    }
    if (!done_.budget_ended && !settled_before()) race_all();
  } catch (const ProblemSkipped& skipped) {
    done_.skipped = skipped.what();
  }
  done_.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  emit_(done_);
}

// --- waves

void ProblemSweep::screen(const std::vector<Candidate>& candidates) {
  const Wave wave{compiler_,
                  options_,
                  problem_,
                  limits_.arch,
                  [this] { return expired(); },
                  [this](CompiledCandidate& ready, int done, int total) {
                    take(ready);
                    emit_(Progress{"validate", done, total});
                  }};
  if (!compile_wave(wave, candidates, book_)) done_.budget_ended = true;
}

void ProblemSweep::take(CompiledCandidate& ready) {
  const bool fresh = ready.trial.outcome == Outcome::kInFlight;
  if (!fresh) record(ready.trial, ready.known);
  if (!fresh && ready.trial.outcome != Outcome::kMeasured) return;
  Contender contender;
  contender.trial = std::move(ready.trial);
  contender.cubin = ready.compiled->cubin;
  contender.plan = make_plan(contender.trial.key.candidate, problem_, limits_);
  if (fresh)
    try_out(contender);
  else if (contender.trial.timing.warm_us > 0)
    contender.stage = kLastStage;
  if (contender.trial.outcome == Outcome::kMeasured) contenders_.push_back(std::move(contender));
}

void ProblemSweep::try_out(Contender& contender) {
  Trial& trial = contender.trial;
  book_.begin(trial);
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
  book_.end(trial, outcome, detail);
  record(trial, false);
  if (!restart.empty()) throw MustRestart(restart);
  if (!skip.empty()) throw ProblemSkipped(skip);
}

Outcome ProblemSweep::judge_and_time(Contender& contender, std::string& detail) {
  const Candidate& candidate = contender.trial.key.candidate;
  const TileSteps steps = tile_steps(candidate);
  const Verdict verdict = validator().judge(
      [&](const Problem& problem, const Tensors& tensors) {
        const Plan plan = problem == problem_ ? contender.plan : make_plan(candidate, problem, limits_);
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

void ProblemSweep::race_all() {
  constexpr std::array<Race, kLastStage> kRaces = {{{3, 4, 0.01, 40}, {6, 8, 0.007, 14}, {15, 40, 0.003, 6, true}}};
  std::vector<Contender*> field = fastest_first();
  for (std::size_t i = 0; i < kRaces.size() && !field.empty(); ++i) {
    if (expired()) {
      done_.budget_ended = true;
      return;
    }
    field = race(field, kRaces[i], fmt::format("time {}/{}", i + 1, kRaces.size()));
    crown(field);
  }
}

bool ProblemSweep::settled_before() {
  // A warm time marks whoever was in a last race. When nothing new was measured since, nothing needs another.
  if (measured_anew_) return false;
  const std::optional<Best> best = book_.stored_best(Grade::kMeasured);
  const auto raced = [&](const Candidate& candidate) {
    const Contender* contender = find(candidate);
    return contender != nullptr && contender->trial.timing.warm_us > 0;
  };
  return best && raced(best->candidate) && (find(default_) == nullptr || raced(default_));
}

std::vector<ProblemSweep::Contender*> ProblemSweep::race(const std::vector<Contender*>& field, const Race& race,
                                                         const std::string& stage) {
  std::vector<Timing> before;
  before.reserve(field.size());
  for (const Contender* contender : field) before.push_back(contender->trial.timing);
  const double keep = std::min(1.0, static_cast<double>(race.at_most) / 2 / static_cast<double>(field.size()));
  std::vector<Contender*> racing;
  for (const int i : survivors(before, keep, kSlack))
    if (racing.size() < race.at_most) racing.push_back(field[static_cast<std::size_t>(i)]);
  Contender* incumbent = find(default_);
  if (incumbent != nullptr && std::find(racing.begin(), racing.end(), incumbent) == racing.end())
    racing.push_back(incumbent);
  // Two processes died in a race with these: they keep the time that they have.
  std::erase_if(racing, [](const Contender* c) { return c->trial.attempts >= 2; });
  if (racing.empty()) return racing;

  emit_(Progress{stage, 0, static_cast<int>(racing.size())});
  std::vector<Trial*> trials;
  for (Contender* contender : racing) {
    ++contender->trial.attempts;
    trials.push_back(&contender->trial);
  }
  book_.update(trials);
  std::vector<Timing> timings;
  try {
    timings = time(racing, race);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kDeviceLost)
      throw MustRestart(device_error(error, "while the finalists were timed").what());
    for (Trial* trial : trials) --trial->attempts;
    book_.update(trials);
    throw ProblemSkipped(device_error(error, "while the finalists were timed").what());
  }
  for (std::size_t i = 0; i < racing.size(); ++i) {
    if (timings[i].samples > 0) racing[i]->trial.timing = timings[i];
    // What an earlier process died in may have been a later race than this one: that stays on record until the last.
    racing[i]->trial.attempts = race.last ? 0 : racing[i]->trial.attempts - 1;
    ++racing[i]->stage;
  }
  book_.update(trials);
  for (const Contender* contender : racing) emit_(TrialDone{contender->trial, false});
  emit_(Progress{stage, static_cast<int>(racing.size()), static_cast<int>(racing.size())});
  return racing;
}

void ProblemSweep::crown(const std::vector<Contender*>& field) {
  std::vector<Timing> timings;
  int incumbent = -1;
  for (std::size_t i = 0; i < field.size(); ++i) {
    timings.push_back(field[i]->trial.timing);
    if (field[i]->trial.key.candidate == default_) incumbent = static_cast<int>(i);
  }
  // A budget may end a sweep before its turn comes to what was best so far: that stays the answer.
  const std::optional<Best> before = done_.budget_ended ? book_.answer(Grade::kMeasured) : std::nullopt;
  if (before && find(before->candidate) == nullptr) {
    done_.best = book_.stored_best(Grade::kMeasured);
  } else if (!field.empty()) {
    const Contender* standing = find(default_);
    const Contender& winner = *field[static_cast<std::size_t>(rank_winner(timings, incumbent))];
    done_.best =
        book_.put_best(winner.trial, Grade::kMeasured, standing != nullptr ? standing->trial.timing.median_us : 0);
  }
  rank();
}

void ProblemSweep::rank() {
  // Times of different races are not compared: whoever came further is better.
  std::vector<const Contender*> order;
  for (const Contender& contender : contenders_) order.push_back(&contender);
  const auto crowned = [&](const Contender* c) {
    return done_.best && c->trial.key.candidate == done_.best->candidate;
  };
  std::stable_sort(order.begin(), order.end(), [&](const Contender* a, const Contender* b) {
    if (crowned(a) != crowned(b)) return crowned(a);
    if (a->stage != b->stage) return a->stage > b->stage;
    return a->trial.timing.median_us < b->trial.timing.median_us;
  });
  done_.ranked.clear();
  for (const Contender* contender : order) done_.ranked.push_back(contender->trial);
}

// --- the device

void ProblemSweep::launch(Contender& contender, const Plan& plan, const Tensors& tensors, DevicePtr workspace,
                          Stream stream) {
  if (contender.loaded.kernel == nullptr)
    contender.loaded =
        load_candidate(device_, contender.cubin, contender.trial.key.candidate, traits_of(problem_), limits_);
  launch_plan(device_, contender.loaded, plan, tensors, workspace, stream);
}

std::vector<Timing> ProblemSweep::time(const std::vector<Contender*>& field, const Race& race) {
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
  timer.expired = [this] { return expired(); };
  return time_interleaved(device_, launches, timer);
}

TimingInputs& ProblemSweep::inputs() {
  if (inputs_ == nullptr) inputs_ = std::make_unique<TimingInputs>(device_, problem_, scale_);
  return *inputs_;
}

Validator& ProblemSweep::validator() {
  if (validator_ == nullptr) validator_ = std::make_unique<Validator>(device_, problem_, scale_);
  return *validator_;
}

/// On the watchdog's thread, while this one hangs in a call. In a race there is no single suspect; the attempts
/// committed before it are the record.
void ProblemSweep::store_late_launch() noexcept {
  try {
    if (!suspect_.key.cubin_digest.empty())
      book_.end(suspect_, Outcome::kTimedOut, fmt::format("a launch took more than {} s", options_.launch_limit_s));
  } catch (...) {  // the process must end all the same; the attempt is on record
  }
  _exit(kExitRestart);
}

// --- bookkeeping

void ProblemSweep::record(const Trial& trial, bool known) {
  ++done_.outcomes[trial.outcome];
  emit_(TrialDone{trial, known});
}

std::vector<ProblemSweep::Contender*> ProblemSweep::fastest_first() {
  std::vector<Contender*> order;
  for (Contender& contender : contenders_) order.push_back(&contender);
  std::stable_sort(order.begin(), order.end(), [](const Contender* a, const Contender* b) {
    return a->trial.timing.median_us < b->trial.timing.median_us;
  });
  return order;
}

ProblemSweep::Contender* ProblemSweep::find(const Candidate& candidate) {
  for (Contender& contender : contenders_)
    if (contender.trial.key.candidate == candidate) return &contender;
  return nullptr;
}

}  // namespace flashtune
