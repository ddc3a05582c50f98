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
#include "runtime/dispatch/decider.h"
#include "runtime/dispatch/snapshot_map.h"
#include "runtime/dispatch/validity.h"
#include "runtime/jit/source.h"
#include "runtime/launch/loaded_candidate.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/prepared.h"
#include "runtime/launch/tensors.h"

namespace flashtune {
namespace {

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
        skipped(known.skipped),
        decider(device->info().key, device->info().driver, std::move(known.rows), options.pinned_chunk) {
    const auto& say = options.warn_of_rows ? options.warn_of_rows : options.warn;
    for (const std::string& line : known.remarks)
      if (say) say(line);
    if (!options.compile) compiler.emplace(compiler_of(options, device->info()));
    if (options.warn && !decider.dispatcher().tuned())
      options.warn(fmt::format(
          "flashtune: {} is untuned; run `flashtune sweep --device {}` once to measure it{}", device->info().key.name,
          device->info().id,
          options.database ? fmt::format(" (no measurement of it in {})", options.database->string()) : std::string()));
  }

  /// What is known of the problem, if anything is. To be let go before it is remembered anew.
  PreparedCalls::Held known_call(const Problem& problem) const { return calls.find(exact_hash(problem), problem); }

  /// Substitutes are not remembered: the next call may find its own kernel.
  void remember(const Problem& problem, const Prepared& call) {
    if (call.decision.reason != DecisionReason::kNotPrepared) calls.put(exact_hash(problem), problem, call);
  }

  Decision decide(const Problem& problem) {
    if (const auto known = known_call(problem)) return known->decision;
    Prepared call;
    call.decision = decider.decide(problem);
    remember(problem, call);
    return call.decision;
  }

  std::size_t workspace_bytes(const Problem& problem) {
    if (const auto known = known_call(problem); known && known->planned) return known->plan.workspace_bytes;
    const Prepared call = planned_call(problem);
    remember(problem, call);
    return call.plan.workspace_bytes;
  }

  /// The decision and its plan, and the kernel if that is loaded.
  Prepared planned_call(const Problem& problem) const {
    Prepared call;
    if (const auto known = known_call(problem))
      call = *known;
    else
      call.decision = decider.decide(problem);
    if (!call.planned) {
      call.plan = make_plan(call.decision.candidate, problem, limits());  // throws where forward() would
      call.outputs_are_distinct = outputs_are_distinct(problem);
      call.planned = true;
    }
    if (call.kernel == nullptr) call.kernel = loaded(call.decision.candidate, problem);
    return call;
  }

  const ArchLimits& limits() const { return decider.limits(); }

  const LoadedCandidate* loaded(const Candidate& candidate, const Problem& problem) const {
    const KernelKey key = key_of(candidate, problem);
    const Kernel* kernel = kernels.find(hash_of(key), key);
    return kernel != nullptr ? &kernel->loaded : nullptr;
  }

  /// The kernel, compiled and loaded if it is not yet.
  const Kernel& load(const Candidate& candidate, const Problem& problem) {
    const KernelKey key = key_of(candidate, problem);
    const std::uint64_t hash = hash_of(key);
    if (const Kernel* known = kernels.find(hash, key)) return *known;
    const std::lock_guard lock(loading);  // two threads must not compile one kernel twice
    if (const Kernel* known = kernels.find(hash, key)) return *known;
    const KernelSpec spec{key.candidate, key.traits, limits().arch};
    const Compiled compiled = options.compile ? options.compile(spec) : compiler->compile(spec);
    if (!compiled.ok)
      throw Error(ErrorKind::kCompile, fmt::format("{} does not compile for sm_{}: {}",
                                                   candidate_to_text(key.candidate), limits().arch, compiled.log));
    return *kernels
                .insert(hash, key,
                        Kernel{load_candidate(*device, compiled.cubin, key.candidate, key.traits, limits()), problem,
                               candidate})
                .first;
  }

  /// While a stream captures nothing can be loaded: of the loaded kernels that compute the problem within so many bytes
  /// of workspace, the one that was loaded for the nearest problem. None where a chunk is pinned: another kernel need
  /// not give the same bits.
  std::pair<Candidate, const Kernel*> substitute(const Problem& problem, std::size_t workspace_bytes) const {
    std::pair<Candidate, const Kernel*> best{{}, nullptr};
    if (decider.pins(problem)) return best;
    double least = std::numeric_limits<double>::infinity();
    kernels.for_each([&](const KernelKey& key, const Kernel& kernel) {
      if (!(key.traits == traits_of(problem))) return;
      if (rejection_of(key.candidate, problem, limits()) != Rejection::kNone) return;
      const auto apart = distance(problem, kernel.problem);
      if (!apart || *apart >= least) return;
      // With splits that suit the problem, unless that were another kernel or took more memory than was asked for.
      const Candidate fitting = adapted(kernel.candidate, kernel.problem, limits().sms, problem, limits().sms);
      for (const Candidate& candidate : {fitting, key.candidate}) {
        if (!(compiled_part(candidate) == key.candidate)) continue;
        if (make_plan(candidate, problem, limits()).workspace_bytes > workspace_bytes) continue;
        least = *apart, best = {candidate, &kernel};
        return;
      }
    });
    return best;
  }

  static void check_workspace(const Plan& plan, DevicePtr workspace) {
    const std::size_t bytes = plan.workspace_bytes;
    if (bytes == 0) return;
    if (workspace == 0)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("this problem needs a workspace of {} bytes, and none was given", bytes));
    if (workspace % 16 != 0)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("the workspace at {:#x} is not aligned to 16 bytes", workspace));
  }

  /// Gives a call its kernel: compiled and loaded, or while the stream captures another one that is loaded already,
  /// with a plan of its own.
  void complete(Prepared& call, const Problem& problem, DevicePtr workspace, Stream stream) {
    if (call.kernel == nullptr && device->is_capturing(stream)) {
      const auto [other, kernel] = substitute(problem, call.plan.workspace_bytes);
      if (kernel == nullptr)
        throw Error(
            ErrorKind::kInvalidArgument,
            fmt::format("no kernel that computes this problem is loaded, and none can be while the stream captures; "
                        "call prepare() with it before the capture: {}",
                        problem_to_text(problem)));
      call.decision = {other, Grade::kDefault, DecisionReason::kNotPrepared, 0, -1};
      call.plan = make_plan(other, problem, limits());
      call.kernel = &kernel->loaded;
    }
    check_workspace(call.plan, workspace);
    if (call.kernel == nullptr) call.kernel = &load(call.decision.candidate, problem).loaded;
  }

  void check_status(const Problem& problem, const Tensors& cache, DevicePtr workspace, Stream stream) {
    if (options.debug_checks && has_cache(problem.op) && !device->is_capturing(stream))
      check_decode_status(*device, problem, cache, workspace);
  }

  static void require_attention(const Problem& problem) {
    if (problem.op == Op::kAppend)
      throw Error(ErrorKind::kInvalidArgument,
                  "op append writes into a cache and computes nothing: call append() with it, not forward()");
  }

  Decision forward(const Problem& problem, const Tensors& tensors, DevicePtr workspace, Stream stream) {
    require_attention(problem);
    if (const auto known = known_call(problem); known && known->kernel != nullptr && known->outputs_are_distinct) {
      check_addresses(problem, tensors);
      check_workspace(known->plan, workspace);
      launch_plan(*device, *known->kernel, known->plan, tensors, workspace, stream);
      check_status(problem, tensors, workspace, stream);
      return known->decision;
    }
    Prepared call = planned_call(problem);
    check_tensors(problem, tensors);
    complete(call, problem, workspace, stream);
    remember(problem, call);
    launch_plan(*device, *call.kernel, call.plan, tensors, workspace, stream);
    check_status(problem, tensors, workspace, stream);
    return call.decision;
  }

  void forward_with(const Candidate& candidate, const Problem& problem, const Tensors& tensors, DevicePtr workspace,
                    Stream stream) {
    require_attention(problem);
    Prepared call;
    call.decision.candidate = candidate;
    call.plan = make_plan(candidate, problem, limits());
    check_tensors(problem, tensors);
    call.kernel = loaded(candidate, problem);
    complete(call, problem, workspace, stream);
    launch_plan(*device, *call.kernel, call.plan, tensors, workspace, stream);
    check_status(problem, tensors, workspace, stream);
  }

  void append(const Problem& problem, const AppendTensors& tensors, DevicePtr workspace, Stream stream) {
    if (const auto known = known_call(problem); known && known->kernel != nullptr) {
      check_append(problem, tensors);
      check_workspace(known->plan, workspace);
      launch_plan(*device, *known->kernel, known->plan, tensors, workspace, stream);
      return check_status(problem, cache_of(tensors), workspace, stream);
    }
    Prepared call = planned_call(problem);
    check_append(problem, tensors);
    complete(call, problem, workspace, stream);
    remember(problem, call);
    launch_plan(*device, *call.kernel, call.plan, tensors, workspace, stream);
    check_status(problem, cache_of(tensors), workspace, stream);
  }

  std::unique_ptr<Device> device;  // first, so that kernels unload before it goes
  EngineOptions options;
  SkippedRows skipped;
  Decider decider;
  std::optional<KernelCompiler> compiler;
  std::mutex loading;
  SnapshotMap<KernelKey, Kernel> kernels;
  PreparedCalls calls{kPreparedSets};
};

EngineImpl::EngineImpl(std::unique_ptr<Device> device, EngineOptions options) {
  KnownRows known = all_rows(options);
  impl_ = std::make_unique<Impl>(std::move(device), std::move(options), std::move(known));
}
EngineImpl::~EngineImpl() = default;

Device& EngineImpl::device() { return *impl_->device; }
const Dispatcher& EngineImpl::dispatcher() const { return impl_->decider.dispatcher(); }
const ArchLimits& EngineImpl::limits() const { return impl_->limits(); }
SkippedRows EngineImpl::skipped_rows() const { return impl_->skipped; }

Decision EngineImpl::decide(const Problem& problem) const { return impl_->decide(problem); }
std::vector<Consideration> EngineImpl::explain(const Problem& problem) const { return impl_->decider.explain(problem); }

void EngineImpl::prepare(const std::vector<Problem>& problems) {
  std::vector<Prepared> calls;
  calls.reserve(problems.size());
  for (const Problem& problem : problems) calls.push_back(impl_->planned_call(problem));
  for (std::size_t i = 0; i < calls.size(); ++i) {
    calls[i].kernel = &impl_->load(calls[i].decision.candidate, problems[i]).loaded;
    impl_->remember(problems[i], calls[i]);
  }
}

std::size_t EngineImpl::workspace_bytes(const Problem& problem) const { return impl_->workspace_bytes(problem); }

Decision EngineImpl::forward(const Problem& problem, const Tensors& tensors, DevicePtr workspace, Stream stream) {
  return impl_->forward(problem, tensors, workspace, stream);
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
  impl_->forward_with(candidate, problem, tensors, workspace, stream);
}

}  // namespace flashtune
