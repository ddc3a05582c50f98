// Decode as a server runs it, with libflashtune alone: sequences that join one after the other share a cache of pages,
// and each step appends a new row of K and V of all of them and attends with a new query of each. No step waits for the
// host: what it needs lies on the device. The last step is checked by hand.
//
// After prepare(), append() and forward() may be captured into a CUDA graph on a stream of yours. A graph reads the
// same addresses whenever it is replayed: let a kernel of yours count the lengths there, once a step.
//
// Exit codes: 0 the last step is right; 1 something failed, or it is wrong; 3 there is no GPU that flashtune can use
// (stderr says why).
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <flashtune/flashtune.hpp>
#include <vector>

#include "example.h"

namespace {

using flashtune::Engine;
using flashtune::Memory;
using flashtune::on_device;

constexpr int kBatch = 3, kHeads = 8, kKvHeads = 2, kDim = 128, kSteps = 70, kPageSize = 16;
constexpr int kJoinsAt[kBatch] = {0, 9, 33};  // the step from which on a sequence has keys
constexpr int kColumns = (kSteps + kPageSize - 1) / kPageSize, kPages = kBatch * kColumns;
static_assert(kPages % 7 != 0, "page_table() names each page once");
constexpr std::size_t kQRows = kBatch * kHeads, kKvRows = kBatch * kKvHeads;  // of one step

std::vector<std::uint16_t> random_rows(std::size_t rows, std::uint32_t seed) {
  std::vector<std::uint16_t> values(rows * kDim);
  fill(values.data(), values.size(), seed);
  return values;
}

/// The keys of each sequence at each step, the new one among them; 0: it has not joined, and its output is zeros.
std::vector<std::int32_t> lengths_of_all_steps() {
  std::vector<std::int32_t> lengths;
  for (int step = 0; step < kSteps; ++step)
    for (const int joins_at : kJoinsAt) lengths.push_back(std::max(step + 1 - joins_at, 0));
  return lengths;
}

/// Which page holds keys 16 c to 16 c + 15 of sequence b, at [b][c]: any order will do. Columns past a sequence's
/// length are never used, so that a server may hand out its pages as sequences grow.
std::vector<std::int32_t> page_table() {
  std::vector<std::int32_t> table;
  for (int b = 0; b < kBatch; ++b)
    for (int c = 0; c < kColumns; ++c) table.push_back((c * kBatch + b) * 7 % kPages);
  return table;
}

/// One new row of each sequence against pages [page, page_size, kv_heads, head_dim].
ft_problem decode_problem() {
  ft_problem problem;
  ft_problem_init(&problem, FT_BF16, kBatch, kHeads, kKvHeads, 1, kSteps, kDim);
  problem.op = FT_DECODE;
  problem.causal = 1;
  problem.page_size = kPageSize;
  flashtune::require_ok(ft_problem_set_layout(&problem, FT_BSHD));
  return problem;
}

/// The outputs of the last step, and the largest error of them.
double error_of_last_step(Engine& engine) {
  const ft_problem problem = decode_problem();
  ft_problem appending = problem;
  appending.op = FT_APPEND;
  engine.prepare({problem, appending});
  const ft_decision decision = engine.decide(problem);
  std::printf("%s (%s)\n", engine.config_text(problem).c_str(), ft_grade_text(decision.grade));

  const auto q = random_rows(kSteps * kQRows, 1);
  const auto k_new = random_rows(kSteps * kKvRows, 2), v_new = random_rows(kSteps * kKvRows, 3);
  const Memory gpu_q = on_device(engine, q), gpu_k_new = on_device(engine, k_new), gpu_v_new = on_device(engine, v_new);
  const Memory lengths = on_device(engine, lengths_of_all_steps()), table = on_device(engine, page_table());
  const std::size_t cache_bytes = sizeof(std::uint16_t) * kPages * kPageSize * kKvHeads * kDim;
  const Memory k_pages(engine, cache_bytes), v_pages(engine, cache_bytes);
  const Memory gpu_o(engine, sizeof(std::uint16_t) * kQRows * kDim);
  const Memory workspace(engine, engine.workspace_bytes(problem));

  for (std::size_t step = 0; step < kSteps; ++step) {
    ft_append_tensors append = FT_APPEND_TENSORS_INIT;
    append.k_new = gpu_k_new.at<std::uint16_t>(step * kKvRows * kDim);
    append.v_new = gpu_v_new.at<std::uint16_t>(step * kKvRows * kDim);
    append.k_new_strides = append.v_new_strides = {kKvHeads * kDim, kDim, kKvHeads * kDim};  // of batch, head, row
    append.k = k_pages.get(), append.v = v_pages.get();
    append.lengths = lengths.at<std::int32_t>(step * kBatch);
    append.page_table = table.at<std::int32_t>(0);
    append.num_pages = kPages, append.max_pages = kColumns;
    engine.append(problem, append, workspace.get());

    ft_tensors tensors = FT_TENSORS_INIT;
    tensors.q = gpu_q.at<std::uint16_t>(step * kQRows * kDim);
    tensors.k = k_pages.get(), tensors.v = v_pages.get(), tensors.o = gpu_o.get();
    tensors.lengths = append.lengths;
    tensors.page_table = append.page_table;
    tensors.num_pages = kPages, tensors.max_pages = kColumns;
    engine.forward(problem, tensors, workspace.get());
  }
  engine.synchronize();

  std::vector<std::uint16_t> o(kQRows * kDim);
  gpu_o.copy_out(o.data());
  double error = 0;
  for (int b = 0; b < kBatch; ++b)
    for (int head = 0; head < kHeads; ++head) {
      const std::size_t row = static_cast<std::size_t>(b * kHeads + head) * kDim;
      const std::size_t first_key =
          static_cast<std::size_t>((kJoinsAt[b] * kBatch + b) * kKvHeads + head / (kHeads / kKvHeads)) * kDim;
      error =
          std::max(error, error_of_row(q.data() + (kSteps - 1) * kQRows * kDim + row, k_new.data() + first_key,
                                       v_new.data() + first_key, kKvRows * kDim, kSteps - kJoinsAt[b], kDim, &o[row]));
    }
  return error;
}

int run() {
  std::printf("flashtune %s\n", ft_version());
  ft_engine* opened = nullptr;
  const ft_status status = ft_engine_create(nullptr, &opened);
  if (status == FT_NOT_FOUND) {
    std::fprintf(stderr, "no usable GPU: %s\n", ft_last_error());
    return kExitNoGpu;
  }
  flashtune::require_ok(status);
  Engine engine(opened);
  const double error = error_of_last_step(engine);
  const bool right = error < MOST_ERROR;
  std::printf("largest error of the last step: %.5f, %s\n", error, right ? "right" : "WRONG");
  return right ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return 1;
  }
}
