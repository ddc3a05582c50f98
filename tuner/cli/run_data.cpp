// Makes or reads the tensors of flashtune run.
#include "tuner/cli/run_data.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "cache/excerpt.h"
#include "tuner/cli/flags.h"
#include "tuner/tensors/kv_cache.h"
#include "tuner/tensors/safetensors.h"

namespace flashtune {
namespace {

/// The flags' problem; what a file says stands in it as placeholders.
Problem with_placeholders(ProblemFlags flags) {
  const std::string one = "1", usual_dim = "64";
  if (flags.heads.empty()) flags.heads = flags.kv_heads = one;
  flags.seq_q = flags.seq_kv = one;
  flags.head_dim = usual_dim;
  // A precision alone speaks of a file of fp32.
  if (!flags.precision.empty() && flags.dtype.empty()) flags.dtype = name_of(Dtype::kFp32);
  return problem_of(flags);
}

/// Q, K and V as three views of one tensor; `problem` says how its heads divide.
QkvInput read_packed(const std::filesystem::path& path, Problem problem) {
  const HostTensor qkv = read_tensor(index_safetensors(path), "qkv");
  const int all_heads = problem.heads + 2 * problem.kv_heads;
  const auto refuse_shape = [&](const std::string& why) {
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("qkv is {} {}; {}", excerpt_of(qkv.dtype), text_of_shape(qkv.shape), why));
  };
  if (qkv.shape.size() != 4) refuse_shape("four sizes [batch, seq, heads + 2 * kv_heads, dim] are wanted");
  for (std::int64_t side : qkv.shape)
    if (side < 1 || side > std::numeric_limits<int>::max())
      refuse_shape("every size must be at least 1 and fit 32 bits");
  if (qkv.shape[2] != all_heads)
    refuse_shape(fmt::format("--heads {} and --kv-heads {} want {} heads", problem.heads, problem.kv_heads, all_heads));
  problem.dtype = dtype_of_token(qkv.dtype);
  problem.precision = usual_precision(problem.dtype);
  problem.batch = static_cast<int>(qkv.shape[0]);
  problem.seq_q = problem.seq_kv = static_cast<int>(qkv.shape[1]);
  problem.head_dim = problem.head_dim_v = static_cast<int>(qkv.shape[3]);
  problem = with_layout(problem, Layout::kPacked);
  if (const ProblemFault fault = fault_of(problem); fault != ProblemFault::kNone) refuse_shape(text_of(fault));

  const auto view = [&](int first_head, int heads, const Strides& strides) {
    Elements elements(problem.dtype, span_of(strides, problem.batch, problem.seq_q, heads, problem.head_dim));
    const std::size_t first = static_cast<std::size_t>(first_head) * static_cast<std::size_t>(problem.head_dim);
    std::memcpy(elements.data(), qkv.bytes.data() + static_cast<std::size_t>(size_of(problem.dtype)) * first,
                elements.bytes());
    return elements;
  };
  return {problem,
          {view(0, problem.heads, problem.q), view(problem.heads, problem.kv_heads, problem.k),
           view(problem.heads + problem.kv_heads, problem.kv_heads, problem.v)},
          {}};
}

/// Every NaN the usual one: another would pass through the simulated device as it is, and the poison in an output that
/// nobody wrote is one.
void make_usual_nans(Elements& elements) {
  for (std::size_t i = 0; i < elements.size(); ++i)
    if (std::isnan(elements[i])) elements.set(i, std::numeric_limits<float>::quiet_NaN());
}

QkvInput read(const std::filesystem::path& path, const ProblemFlags& flags) {
  const Problem mask = with_placeholders(flags);
  const Layout layout = layout_of_flag(flags.layout);
  const std::optional<Dtype> dtype = flags.dtype.empty() ? std::nullopt : std::optional(mask.dtype);
  QkvInput input = layout == Layout::kPacked ? read_packed(path, mask) : read_qkv(path, layout, dtype);
  input.problem.op = mask.op;
  input.problem.causal = mask.causal;
  input.problem.window = mask.window;
  for (Elements* elements : {&input.inputs.q, &input.inputs.k, &input.inputs.v}) make_usual_nans(*elements);
  if (!flags.precision.empty()) {
    input.problem.precision = mask.precision;
    if (const ProblemFault fault = fault_of(input.problem); fault != ProblemFault::kNone)
      throw Error(ErrorKind::kInvalidArgument, fmt::format("--precision {}: {}", flags.precision, text_of(fault)));
  }
  return input;
}

}  // namespace

void judge_for_file(const ProblemFlags& flags) {
  const bool packed = flags.layout == name_of(Layout::kPacked);
  for (const std::string& name : given(flags)) {
    const bool of_mask = name == "--op" || name == "--causal" || name == "--window" || name == "--layout";
    const bool of_type = (name == "--dtype" && !packed) || name == "--precision";
    const bool of_heads = packed && (name == "--heads" || name == "--kv-heads");
    if (!of_mask && !of_type && !of_heads)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("{}: --input has sizes and types of its own; leave this out", name));
  }
  if (packed && flags.heads.empty())
    throw Error(ErrorKind::kInvalidArgument,
                "--layout packed: say how the heads of qkv divide, by --heads and --kv-heads");
  with_placeholders(flags);
}

QkvInput load_input(const std::filesystem::path& path, const ProblemFlags& flags) {
  try {
    return read(path, flags);
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.find(path.string()) != std::string::npos) throw;
    throw Error(error.kind(), fmt::format("{}: {}", path.string(), what));
  }
}

QkvInput generate_input(const Problem& problem) {
  return {problem, make_inputs(without_pages(problem), InputKind::kNormal, 1), {}};
}

}  // namespace flashtune
