// How long a lookup takes with 10,000 best rows: warm under 200 ns, first sight under 20 us.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <iterator>
#include <memory>

#include "cache/keys.h"
#include "runtime/dispatch/dispatcher.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

constexpr int kRows = 10'000;
const DeviceKey kDevice{"NVIDIA H200", 132, 90};
const char* const kDriver = "580.159.04";

/// The i-th of a family of problems whose buckets all differ, spread over lengths, heads and batches.
Problem problem_at(int i, int head_dim, bool causal) {
  Problem p;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = causal;
  p.seq_q = bucket_of_length(96 << (i % 10));
  i /= 10;
  p.seq_kv = bucket_of_length(80 << (i % 10));
  i /= 10;
  p.batch = 1 << (i % 6);
  i /= 6;
  p.heads = p.kv_heads = 1 + i;
  return with_layout(p, Layout::kBshd);
}

Best row_for(const Problem& problem) {
  Best row;
  row.device = kDevice;
  row.problem = problem;
  row.candidate = fallback(problem, limits_of(kDevice.arch));
  row.driver = kDriver;
  row.timing.median_us = 100;
  return row;
}

/// Rows as a fleet has them: many kinds of kernel, a few hundred problems each.
std::vector<Best> spread_rows() {
  std::vector<Best> rows;
  constexpr int kDims[] = {40, 64, 80, 96, 128, 160, 192, 256};
  for (int i = 0; i < kRows; ++i) rows.push_back(row_for(problem_at(i / 16, kDims[i % 8], i / 8 % 2 == 1)));
  return rows;
}

/// The worst case: every row is for the kernel that is asked for.
std::vector<Best> crowded_rows() {
  std::vector<Best> rows;
  for (int i = 0; i < kRows; ++i) rows.push_back(row_for(problem_at(i, 128, true)));
  return rows;
}

void warm_lookup(benchmark::State& state) {
  const Dispatcher dispatcher(kDevice, kDriver, spread_rows());
  std::vector<Problem> problems;
  for (int i = 0; i < 64; ++i) problems.push_back(problem_at(i * 9, 128, true));
  for (const Problem& problem : problems) dispatcher.decide(problem);
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(dispatcher.decide(problems[i]));
    i = (i + 1) % problems.size();
  }
}
BENCHMARK(warm_lookup);

/// Each decide() sees a bucket that no row and no earlier call has: heads that no row has.
void first_sight(benchmark::State& state, std::vector<Best> (*rows)()) {
  const Dispatcher dispatcher(kDevice, kDriver, rows());
  int i = 600 * 100;
  for (auto _ : state) benchmark::DoNotOptimize(dispatcher.decide(problem_at(i++, 128, true)));
}
BENCHMARK_CAPTURE(first_sight, spread_rows, spread_rows)->Iterations(20'000);
BENCHMARK_CAPTURE(first_sight, crowded_rows, crowded_rows)->Iterations(20'000);

}  // namespace
}  // namespace flashtune
