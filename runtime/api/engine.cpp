// The engine: answers from the dispatcher, kernels from the compiler, launches on the device.
#include "runtime/api/engine.h"

#include <fmt/format.h>

#include <limits>
#include <mutex>
#include <system_error>
#include <utility>

#include "cache/codec.h"
#include "cache/database.h"
#include "cache/error.h"
#include "cache/keys.h"
#include "flashtune/shared/fields.h"
#include "runtime/api/debug_checks.h"
#include "runtime/api/tensor_checks.h"
#include "runtime/dispatch/adapted.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/fp32_copies.h"
#include "runtime/dispatch/snapshot_map.h"
#include "runtime/dispatch/validity.h"
#include "runtime/jit/source.h"
#include "runtime/launch/loaded_candidate.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"

namespace flashtune {
namespace {

constexpr int kPinnedLength = 4096;  // whose decision serves all lengths of a pinned engine

/// What a compiled kernel is found by.
struct KernelKey {
  Candidate candidate;
  KernelTraits traits;
  bool operator==(const KernelKey&) const = default;
};

struct Kernel {
  LoadedCandidate loaded;
  Problem problem;      // the first it was loaded for,
  Candidate candidate;  // and how that uses it
};

/// Candidates that share their machine code share the loaded kernel too.
KernelKey key_of(const Candidate& candidate, const Problem& problem) {
  return {compiled_part(candidate), traits_of(problem)};
}

std::uint64_t hash_of(const KernelKey& key) {
  std::uint64_t hash = 0x9E3779B97F4A7C15u;
  const auto mix = [&hash](int value) {
    hash = (hash ^ static_cast<std::uint32_t>(value)) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  };
  mix(static_cast<int>(key.candidate.family()));
  std::visit(
      [&](const auto& config) { visit_fields(config, [&](const char*, const auto& f) { mix(static_cast<int>(f)); }); },
      key.candidate.config);
  visit_traits(key.traits, [&](const char*, const auto& trait) { mix(static_cast<int>(trait)); });
  return hash;
}

/// The rows of the databases, and a line on each that has some that are none.
struct KnownRows {
  std::vector<Best> rows;
  SkippedRows skipped;
  std::vector<std::string> remarks;
};

void read_rows(const std::optional<std::filesystem::path>& path, KnownRows& known) {
  std::error_code unreadable;  // then opening it says why
  if (!path || (!std::filesystem::exists(*path, unreadable) && !unreadable)) return;
  const Database db = Database::open(*path, Database::Mode::kReadOnly);
  for (Best& row : db.bests()) known.rows.push_back(std::move(row));
  if (!db.skipped().any()) return;
  known.skipped += db.skipped();
  known.remarks.push_back("flashtune: " + remark_on(db.skipped(), path->string()));
}

/// The user's rows first: of two that answer alike, the earlier one wins.
KnownRows all_rows(const EngineOptions& options) {
  KnownRows known;
  read_rows(options.database, known);
  read_rows(options.shipped_database, known);
  return known;
}

/// The compiler's own options, with what the engine knows where they leave it open.
KernelCompiler::Options compiler_of(const EngineOptions& engine, const DeviceInfo& device) {
  KernelCompiler::Options options = engine.compiler;
  if (options.max_cuda_major == 0) options.max_cuda_major = device.cuda_version / 1000;
  if (!options.warn && engine.warn)
    options.warn = [warn = engine.warn](const std::string& problem) { warn("flashtune: " + problem); };
  return options;
}

}  // namespace

struct EngineImpl::Impl {
  Impl(std::unique_ptr<Device> opened, EngineOptions engine_options, KnownRows known)
      : device(std::move(opened)),
        options(std::move(engine_options)),
        limits(limits_of(device->info().key)),
        skipped(known.skipped),
        dispatcher(device->info().key, device->info().driver, std::move(known.rows)) {
    const auto& say = options.warn_of_rows ? options.warn_of_rows : options.warn;
    for (const std::string& line : known.remarks)
      if (say) say(line);
    if (!options.compile) compiler.emplace(compiler_of(options, device->info()));
    if (options.warn && !dispatcher.tuned())
      options.warn(fmt::format(
          "flashtune: {} is untuned; run `flashtune sweep --device {}` once to measure it{}", device->info().key.name,
          device->info().id,
          options.database ? fmt::format(" (no measurement of it in {})", options.database->string()) : std::string()));
  }

  Decision decide(const Problem& problem) const {
    if (problem.op == Op::kAppend) return {fallback(problem, limits)};  // which is all there is: no row can know better
    if (!pins(problem)) {
      const Decision decision = dispatcher.decide(problem);
      // It is for a bucket of problems, of which one may have strides that the family cannot take.
      if (rejection_of(decision.candidate, problem, limits) == Rejection::kNone) return decision;
      return {fallback(problem, limits)};
    }
    Decision decision = dispatcher.decide(model_of_pinned(problem));
    if (rejection_of(decision.candidate, problem, limits) != Rejection::kNone)
      decision = {fallback(model_of_pinned(problem), limits)};
    std::visit(
        [&](auto& config) {
          if constexpr (SplitsKeys<decltype(config)>) {
            config.chunk = round_up(options.pinned_chunk, config.bc);
            config.splits = 1;
            if (config.merge == Merge::kCluster) config.merge = Merge::kLastBlock;
            // How rows are copied changes no bit; the model has strides of its own.
            if constexpr (requires { config.copy; }) config = with_copies_for(config, problem);
          }
        },
        decision.candidate.config);
    return decision;
  }

  bool pins(const Problem& problem) const { return options.pinned_chunk > 0 && problem.op == Op::kDecode; }

  /// Whose decision serves all batches and lengths of a pinned engine.
  static Problem model_of_pinned(const Problem& problem) {
    Problem model = problem;
    model.batch = 1;
    model.seq_kv = kPinnedLength;
    return with_layout(model, Layout::kBshd);
  }

  /// The dispatcher's story, and what the engine makes of it.
  std::vector<Consideration> explain(const Problem& problem) const {
    if (problem.op == Op::kAppend)
      return {{Grade::kDefault, true, "append has one kernel: " + candidate_to_text(fallback(problem, limits))}};
    std::vector<Consideration> story = dispatcher.explain(pins(problem) ? model_of_pinned(problem) : problem);
    const Decision decision = decide(problem);
    for (Consideration& line : story) {
      if (pins(problem) && line.chosen)
        line.why += fmt::format("; pinned, and so asked for batch 1 and {} keys: {}", kPinnedLength,
                                candidate_to_text(decision.candidate));
      else if (line.chosen && line.grade != decision.grade)
        line.chosen = false, line.why = "does not take this problem's strides: " + line.why;
      else if (line.grade == decision.grade && line.grade == Grade::kDefault)
        line.chosen = true, line.why = "the built-in default: " + candidate_to_text(decision.candidate);
    }
    return story;
  }

  /// The kernel, compiled and loaded if it is not yet.
  const Kernel& load(const Candidate& candidate, const Problem& problem) {
    const KernelKey key = key_of(candidate, problem);
    const std::uint64_t hash = hash_of(key);
    if (const Kernel* known = kernels.find(hash, key)) return *known;
    const std::lock_guard lock(loading);  // two threads must not compile one kernel twice
    if (const Kernel* known = kernels.find(hash, key)) return *known;
    const KernelSpec spec{key.candidate, key.traits, limits.arch};
    const Compiled compiled = options.compile ? options.compile(spec) : compiler->compile(spec);
    if (!compiled.ok)
      throw Error(ErrorKind::kCompile, fmt::format("{} does not compile for sm_{}: {}",
                                                   candidate_to_text(key.candidate), limits.arch, compiled.log));
    return *kernels
                .insert(hash, key,
                        Kernel{load_candidate(*device, compiled.cubin, key.candidate, key.traits, limits), problem,
                               candidate})
                .first;
  }

  /// While a stream captures nothing can be loaded: of the loaded kernels that compute the problem within so many bytes
  /// of workspace, the one that was loaded for the nearest problem. None where a chunk is pinned: another kernel need
  /// not give the same bits.
  std::pair<Candidate, const Kernel*> substitute(const Problem& problem, std::size_t workspace_bytes) const {
    std::pair<Candidate, const Kernel*> best{{}, nullptr};
    if (pins(problem)) return best;
    double least = std::numeric_limits<double>::infinity();
    kernels.for_each([&](const KernelKey& key, const Kernel& kernel) {
      if (!(key.traits == traits_of(problem))) return;
      if (rejection_of(key.candidate, problem, limits) != Rejection::kNone) return;
      const auto apart = distance(problem, kernel.problem);
      if (!apart || *apart >= least) return;
      // With splits that suit the problem, unless that were another kernel or took more memory than was asked for.
      const Candidate fitting = adapted(kernel.candidate, kernel.problem, limits.sms, problem, limits.sms);
      for (const Candidate& candidate : {fitting, key.candidate}) {
        if (!(compiled_part(candidate) == key.candidate)) continue;
        if (make_plan(candidate, problem, limits).workspace_bytes > workspace_bytes) continue;
        least = *apart, best = {candidate, &kernel};
        return;
      }
    });
    return best;
  }

  /// What a launch takes, once everything is checked: the wanted candidate, or its substitute during capture.
  struct Ready {
    Plan plan;
    const Kernel* kernel;
    Candidate candidate;
  };
  template <class Check>
  Ready ready(const Candidate& wanted, const Problem& problem, DevicePtr workspace, Stream stream, Check&& check) {
    Ready r{make_plan(wanted, problem, limits), nullptr, wanted};
    check();
    const KernelKey key = key_of(wanted, problem);
    r.kernel = kernels.find(hash_of(key), key);
    if (r.kernel == nullptr && device->is_capturing(stream)) {
      const auto [other, loaded] = substitute(problem, r.plan.workspace_bytes);
      if (loaded == nullptr)
        throw Error(
            ErrorKind::kInvalidArgument,
            fmt::format("no kernel that computes this problem is loaded, and none can be while the stream captures; "
                        "call prepare() with it before the capture: {}",
                        problem_to_text(problem)));
      r = {make_plan(other, problem, limits), loaded, other};
    }
    const std::size_t bytes = r.plan.workspace_bytes;
    if (bytes > 0 && workspace == 0)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("this problem needs a workspace of {} bytes, and none was given", bytes));
    if (bytes > 0 && workspace % 16 != 0)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("the workspace at {:#x} is not aligned to 16 bytes", workspace));
    if (r.kernel == nullptr) r.kernel = &load(wanted, problem);
    return r;
  }

  void check_status(const Problem& problem, const Tensors& cache, DevicePtr workspace, Stream stream) {
    if (options.debug_checks && has_cache(problem.op) && !device->is_capturing(stream))
      check_decode_status(*device, problem, cache, workspace);
  }

  /// Returns what ran.
  Candidate launch(const Candidate& wanted, const Problem& problem, const Tensors& tensors, DevicePtr workspace,
                   Stream stream) {
    if (problem.op == Op::kAppend)
      throw Error(ErrorKind::kInvalidArgument,
                  "op append writes into a cache and computes nothing: call append() with it, not forward()");
    const Ready r = ready(wanted, problem, workspace, stream, [&] { check_tensors(problem, tensors); });
    launch_plan(*device, r.kernel->loaded, r.plan, tensors, workspace, stream);
    check_status(problem, tensors, workspace, stream);
    return r.candidate;
  }

  void append(const Problem& problem, const AppendTensors& tensors, DevicePtr workspace, Stream stream) {
    const Ready r =
        ready(decide(problem).candidate, problem, workspace, stream, [&] { check_append(problem, tensors); });
    launch_plan(*device, r.kernel->loaded, r.plan, tensors, workspace, stream);
    check_status(problem, cache_of(tensors), workspace, stream);
  }

  std::unique_ptr<Device> device;  // first, so that kernels unload before it goes
  EngineOptions options;
  ArchLimits limits;
  SkippedRows skipped;
  Dispatcher dispatcher;
  std::optional<KernelCompiler> compiler;
  std::mutex loading;
  SnapshotMap<KernelKey, Kernel> kernels;
};

EngineImpl::EngineImpl(std::unique_ptr<Device> device, EngineOptions options) {
  KnownRows known = all_rows(options);
  impl_ = std::make_unique<Impl>(std::move(device), std::move(options), std::move(known));
}
EngineImpl::~EngineImpl() = default;

Device& EngineImpl::device() { return *impl_->device; }
const Dispatcher& EngineImpl::dispatcher() const { return impl_->dispatcher; }
const ArchLimits& EngineImpl::limits() const { return impl_->limits; }
SkippedRows EngineImpl::skipped_rows() const { return impl_->skipped; }

// Whoever launches has a plan made, which judges the problem; who only asks has none.
Decision EngineImpl::decide(const Problem& problem) const {
  require_supported(problem);
  return impl_->decide(problem);
}
std::vector<Consideration> EngineImpl::explain(const Problem& problem) const {
  require_supported(problem);
  return impl_->explain(problem);
}

void EngineImpl::prepare(const std::vector<Problem>& problems) {
  std::vector<Candidate> candidates;
  for (const Problem& problem : problems) {
    candidates.push_back(impl_->decide(problem).candidate);
    make_plan(candidates.back(), problem, impl_->limits);  // throws where forward() would
  }
  for (std::size_t i = 0; i < candidates.size(); ++i) impl_->load(candidates[i], problems[i]);
}

std::size_t EngineImpl::workspace_bytes(const Problem& problem) const {
  return make_plan(impl_->decide(problem).candidate, problem, impl_->limits).workspace_bytes;
}

Decision EngineImpl::forward(const Problem& problem, const Tensors& tensors, DevicePtr workspace, Stream stream) {
  const Decision decision = impl_->decide(problem);
  const Candidate used = impl_->launch(decision.candidate, problem, tensors, workspace, stream);
  if (used == decision.candidate) return decision;
  return {used, Grade::kDefault, DecisionReason::kNotPrepared, 0, -1};
}

void EngineImpl::append(const Problem& problem, const AppendTensors& tensors, DevicePtr workspace, Stream stream) {
  if (!has_cache(problem.op))
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("append takes the problem of the decode that follows, not one of {}", name_of(problem.op)));
  Problem asked = problem;
  asked.op = Op::kAppend;
  impl_->append(asked, tensors, workspace, stream);
}

void EngineImpl::forward_with(const Candidate& candidate, const Problem& problem, const Tensors& tensors,
                              DevicePtr workspace, Stream stream) {
  impl_->launch(candidate, problem, tensors, workspace, stream);
}

}  // namespace flashtune
