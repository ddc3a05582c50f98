// The cases a candidate must pass: every input kind on the problem (or a shrunken copy of a large one), and tile edges.
#include "tuner/judge/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/keys.h"
#include "tuner/judge/output_check.h"
#include "tuner/tensors/device_inputs.h"

namespace flashtune {
namespace {

constexpr std::uint64_t kSeed = 20;
/// Above this much output only normal inputs run on the problem itself; the other kinds run on a shrunken copy, so that
/// judging a candidate does not take longer than timing it.
constexpr std::size_t kShrinkAboveOutput = std::size_t{8} << 20;
/// The same of K and V together: every further kind is generated, put in pages and uploaded before the first candidate.
constexpr std::size_t kShrinkAboveKv = std::size_t{64} << 20;
constexpr int kEdgeRows = 96;
constexpr double kMemoryShare = 0.4;  // of the device, for one problem's tensors

std::size_t q_bytes(const Problem& p) { return bytes_of(p.dtype, p.q, p.batch, p.seq_q, p.heads, p.head_dim); }
std::size_t k_bytes(const Problem& p) {
  return bytes_of(p.dtype, without_pages(p).k, p.batch, p.seq_kv, p.kv_heads, p.head_dim);
}
std::size_t v_bytes(const Problem& p) {
  return bytes_of(p.dtype, without_pages(p).v, p.batch, p.seq_kv, p.kv_heads, p.head_dim_v);
}

/// BSHD with 16 bytes of nothing after every row of heads, and more after every batch entry, in all four tensors.
Problem with_gaps(const Problem& problem) {
  Problem p = with_layout(problem, Layout::kBshd);
  const auto widen = [](Strides& s, int rows) {
    s.row += 8;
    s.batch = s.row * rows + 64;
  };
  widen(p.q, p.seq_q);
  widen(p.k, rows_together(p));
  widen(p.v, rows_together(p));
  widen(p.o, p.seq_q);
  return p;
}

Problem with_layout_like(const Problem& p, const Problem& model) {
  const Layout layout = bucket_layout(model);
  return layout == Layout::kStrided ? with_gaps(p) : with_layout(p, layout);
}

/// `model` with other sizes: everything a kernel is compiled for and the group stay.
Problem resized(const Problem& model, int batch, int seq_q, int seq_kv, int window) {
  Problem p = model;
  const int group = model.heads / model.kv_heads;
  p.batch = batch;
  p.kv_heads = std::min(model.kv_heads, 2);
  p.heads = group * p.kv_heads;
  p.seq_q = seq_q;
  p.seq_kv = seq_kv;
  if (model.window > 0) p.window = std::max(1, window);
  return with_layout_like(p, model);
}

/// A small copy of a large problem: lengths keep their remainder by 1024, and so by most tiles.
Problem shrunken(const Problem& p) {
  const auto shorter = [](int length) { return length > 2048 ? 1024 + length % 1024 : length; };
  return resized(p, std::min(p.batch, 2), shorter(p.seq_q), shorter(p.seq_kv),
                 std::min(p.window, 256 + p.window % 256));
}

/// One launch to be judged: uploaded inputs, the oracle's rows, and the output that was accepted first.
struct Case {
  Problem problem;
  InputKind kind = InputKind::kNormal;
  Lengths lengths;
  DeviceInputs inputs;
  std::vector<ReferenceRow> rows;
  ErrorBounds bounds;
  std::vector<char> accepted_o, accepted_lse;  // downloads; empty until a candidate was judged ok
};

Case make_case(Device& device, const Problem& p, InputKind kind, float scale, int sampled_rows,
               const Lengths& lengths = {}) {
  Case c;
  c.problem = p;
  c.kind = kind;
  c.lengths = lengths;
  const Problem flat = without_pages(p);
  const HostTensors inputs = make_inputs(flat, kind, kSeed, 0, lengths);
  c.inputs = DeviceInputs(device, p, inputs, lengths);
  c.rows = reference_rows(flat, inputs, scale, sample_rows(p, sampled_rows, kSeed), 0, lengths);
  c.bounds = ErrorBounds(p, c.rows);
  return c;
}

template <class T>
const T* elements_of(const std::vector<char>& download) {
  return download.empty() ? nullptr : static_cast<const T*>(static_cast<const void*>(inside_of(download)));
}

}  // namespace

Problem shrunken_to_tiles(const Problem& problem, int br, int bc) {
  const auto shorter = [](int length, int tile) { return std::min(length, 2 * tile + length % tile); };
  // A row of decode's tile is a new row of some head, and a step of its keys is divided among warps.
  const int seq_q = problem.op == Op::kDecode ? problem.seq_q : shorter(problem.seq_q, br);
  const int step = problem.op == Op::kDecode ? 2 * bc : bc;
  Problem p =
      resized(problem, std::min(problem.batch, 2), seq_q, shorter(problem.seq_kv, step), shorter(problem.window, step));
  if (p.heads > 4) {  // a group of more than 2: one KV head shows as much
    p.heads /= p.kv_heads;
    p.kv_heads = 1;
  }
  return with_layout_like(p, problem);
}

std::vector<Problem> edge_problems(const Problem& problem, int br, int bc) {
  // Either length is varied around its own tile beside a fixed one, so that candidates share most of these problems.
  const std::vector<Problem> all = {
      resized(problem, 1, br, br + 1, br / 2),  // one full query tile
      resized(problem, 2, br + 1, br, br - 1),  // a tail of one row; more queries than keys
      resized(problem, 1, br - 1, 2 * br + 1, br + 1),
      resized(problem, 2, 1, bc, bc),  // one row, one full key tile
      resized(problem, 1, 33, bc - 1, bc - 1),
      resized(problem, 1, 40, 2 * bc + 1, bc + 1),  // a tail of one key
      resized(problem, 2, 1, 1, 1),
      resized(problem, 1, 3, 0, 1),  // no key at all
  };
  std::vector<Problem> out;
  out.reserve(all.size());
  for (const Problem& p : all) out.push_back(out.size() % 2 == 0 ? p : with_gaps(p));
  return out;
}

std::vector<DecodeEdge> decode_edges(const Problem& problem, int keys) {
  const Lengths around = {keys, 0, 1, keys + 1, 2 * keys - 1, 4 * keys + 3, 15, 2 * keys + 17};
  const auto edge = [&](Problem p, Lengths lengths) {
    p.seq_kv = *std::max_element(lengths.begin(), lengths.end());
    return DecodeEdge{p, std::move(lengths)};
  };
  const auto sized = [&](const Lengths& lengths, int window) {
    return resized(problem, static_cast<int>(lengths.size()), problem.seq_q, 4 * keys + 3, window);
  };
  const Lengths one = {2 * keys}, two = {problem.seq_q, 3 * keys + 5};
  return {edge(sized(around, keys + 1), around), edge(with_gaps(sized(two, 5)), two), edge(sized(one, keys), one)};
}

struct Validator::Impl {
  Device& device;
  float scale;
  std::deque<Case> cases;  // the problem's own; a deque's elements stay where they are
  std::deque<Case> edges;  // made when a tile first needs them
  FencedBuffer o, lse;
  std::size_t o_capacity = 0, lse_capacity = 0;

  Impl(Device& on, const Problem& problem, float softmax_scale, int sampled_rows) : device(on), scale(softmax_scale) {
    require_room(problem);
    reserve(problem);
    cases.push_back(make_case(device, problem, InputKind::kNormal, scale, sampled_rows));
    const bool large = o_bytes(problem) > kShrinkAboveOutput || k_bytes(problem) + v_bytes(problem) > kShrinkAboveKv;
    const Problem small = large ? shrunken(problem) : problem;
    reserve(small);
    for (int kind = 1; kind < kInputKinds; ++kind)
      cases.push_back(make_case(device, small, static_cast<InputKind>(kind), scale, std::min(sampled_rows, 128)));
  }

  void require_room(const Problem& p) const {
    const double wanted = 1.0 * static_cast<double>(q_bytes(p) + k_bytes(p) + v_bytes(p) + o_bytes(p) + lse_bytes(p));
    const double memory = static_cast<double>(device.info().memory_bytes);
    if (memory > 0 && wanted > kMemoryShare * memory)
      throw Error(
          ErrorKind::kOutOfMemory,
          fmt::format(
              "{} needs {:.1f} GiB for its tensors, more than {:.0f}% of the {:.1f} GiB of {}; use a smaller batch",
              problem_to_text(p), wanted / 0x1p30, 100 * kMemoryShare, memory / 0x1p30, device.info().id));
  }

  /// Output buffers large enough for `p`; old ones go first, so that both never stand side by side.
  void reserve(const Problem& p) {
    if (o_bytes(p) > o_capacity) {
      o = {};
      o = FencedBuffer(device, o_capacity = o_bytes(p));
    }
    if (lse_bytes(p) > lse_capacity) {
      lse = {};
      lse = FencedBuffer(device, lse_capacity = lse_bytes(p));
    }
  }

  Case& edge_case(const Problem& p, InputKind kind, const Lengths& lengths = {}) {
    const auto found = std::find_if(edges.begin(), edges.end(), [&](const Case& c) {
      return c.kind == kind && c.problem == p && c.lengths == lengths;
    });
    if (found != edges.end()) return *found;
    reserve(p);
    return edges.emplace_back(make_case(device, p, kind, scale, kEdgeRows, lengths));
  }

  /// The cases of one judgement, in order: cheap to fail early, as the first is the problem itself.
  std::vector<Case*> cases_for(int br, int bc) {
    std::vector<Case*> out;
    for (Case& c : cases) out.push_back(&c);
    int other = 0;
    if (cases.front().problem.op == Op::kDecode) {
      for (const DecodeEdge& edge : decode_edges(cases.front().problem, bc)) {
        out.push_back(&edge_case(edge.problem, InputKind::kNormal, edge.lengths));
        out.push_back(&edge_case(edge.problem, static_cast<InputKind>(1 + other++ % (kInputKinds - 1)), edge.lengths));
      }
      return out;
    }
    for (const Problem& p : edge_problems(cases.front().problem, br, bc)) {
      out.push_back(&edge_case(p, InputKind::kNormal));
      out.push_back(&edge_case(p, static_cast<InputKind>(1 + other++ % (kInputKinds - 1))));
    }
    return out;
  }

  /// What a launch left behind, guards included; kept from run to run, as fresh gigabytes cost more than filling them.
  struct Output {
    std::vector<char> o, lse;
  };
  Output output;

  /// Launches once on fresh poison and checks everything about what came back in `output`; a failure goes into the
  /// verdict.
  void run(const Case& c, const LaunchFn& launch, bool with_lse, Verdict& verdict) {
    const Problem& p = c.problem;
    o.arm(o_bytes(p));
    lse.arm(lse_bytes(p));
    Tensors tensors = c.inputs.tensors(scale);
    tensors.o = o.get();
    tensors.lse = with_lse ? lse.get() : 0;
    launch(p, tensors);
    device.synchronize();
    o.download(output.o);
    lse.download(output.lse);
    const std::string why = fault_in(c, output, with_lse, verdict);
    if (why.empty()) return;
    const bool own = p == cases.front().problem;
    verdict.ok = false;
    verdict.why = fmt::format("{} inputs{}{}: {}", name_of(c.kind), own ? "" : " of " + problem_to_text(p),
                              with_lse ? "" : " without log-sum-exp", why);
    verdict.worst_input = c.kind;
  }

  static std::string fault_in(const Case& c, const Output& out, bool with_lse, Verdict& verdict) {
    const Problem& p = c.problem;
    const OutputView got{elements_of<void>(out.o), with_lse ? elements_of<float>(out.lse) : nullptr};
    const OutputView accepted{elements_of<void>(c.accepted_o), elements_of<float>(c.accepted_lse)};
    std::string why = breach_of(out.o, "the output");
    if (why.empty()) why = breach_of(out.lse, "the log-sum-exp");
    if (why.empty()) why = gap_fault(p, got.o);
    if (!why.empty()) return why;
    const OutputFault fault = scan_output(p, got, accepted, c.bounds, c.lengths);
    if (fault.found && !fault.against_accepted) return fault.why;
    const OracleResult oracle = compare_with_oracle(p, got, c.rows, c.bounds);
    if (oracle.error * verdict.bound >= verdict.max_error * oracle.bound) {
      verdict.max_error = oracle.error, verdict.bound = oracle.bound;
      verdict.worst_input = c.kind;
    }
    return oracle.why.empty() ? fault.why : oracle.why;
  }

  /// All of `all`, and the one at `without_lse` once more without a log-sum-exp.
  Verdict judge(const LaunchFn& launch, const std::vector<Case*>& all, std::size_t without_lse) {
    Verdict verdict;
    verdict.ok = true;
    std::vector<std::pair<Case*, Output>> accepted;  // of this candidate, where none was accepted yet
    for (Case* c : all) {
      run(*c, launch, true, verdict);
      if (!verdict.ok) return verdict;
      if (c->accepted_o.empty()) accepted.emplace_back(c, std::move(output));
    }
    run(*all[without_lse], launch, false, verdict);
    if (!verdict.ok) return verdict;
    for (auto& [c, out] : accepted) {
      c->accepted_o = std::move(out.o);
      c->accepted_lse = std::move(out.lse);
    }
    return verdict;
  }
};

Validator::Validator(Device& device, const Problem& problem, float scale, int sampled_rows)
    : impl_(std::make_unique<Impl>(device, problem, scale, sampled_rows)) {}
Validator::~Validator() = default;

Validator::Validator(Validator&&) noexcept = default;

Verdict Validator::judge(const LaunchFn& launch, int br, int bc) {
  // The log-sum-exp is optional: the first edge problem must come out the same without it.
  return impl_->judge(launch, impl_->cases_for(br, bc), impl_->cases.size());
}

Verdict Validator::judge_output(const LaunchFn& launch) {
  Verdict verdict;
  verdict.ok = true;
  for (Case& c : impl_->cases) {
    impl_->run(c, launch, false, verdict);
    if (!verdict.ok) break;
  }
  return verdict;
}

Verdict Validator::judge_without_edges(const LaunchFn& launch, int kinds) {
  std::vector<Case*> cases;
  cases.reserve(static_cast<std::size_t>(kinds));
  for (int i = 0; i < kinds; ++i) cases.push_back(&impl_->cases[static_cast<std::size_t>(i)]);
  return impl_->judge(launch, cases, 0);
}

}  // namespace flashtune
