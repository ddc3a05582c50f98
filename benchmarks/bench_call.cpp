// How long the host's part of a call takes, through the C API, on a device whose own calls cost nothing: ft_forward of
// prefill_mma and decode_split at most 250 ns, of prefill_wgmma 350 ns, ft_decide 200 ns.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>

#include "flashtune/flashtune.h"
#include "runtime/api/c_api.h"
#include "tests/support/free_device.h"

namespace flashtune {
namespace {

void require(ft_status status) {
  if (status == FT_OK) return;
  std::fprintf(stderr, "%s\n", ft_last_error());
  std::abort();
}

void* at(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

/// An engine on a free device of `arch`, and a problem with its tensors.
struct Call {
  Call(int arch, ft_op op, int page_size = 0) {
    DeviceInfo info{"cuda:0", {"Free GPU", 132, arch}, "580.0.0", 13000, std::size_t{1} << 36, std::size_t{50} << 20};
    EngineOptions options;
    options.compile = [](const KernelSpec&) {
      Compiled compiled;
      compiled.ok = true;
      return compiled;
    };
    engine = make_engine_handle(std::make_unique<FreeDevice>(std::move(info)), std::move(options));
    const bool decode = op == FT_DECODE;
    ft_problem_init(&problem, FT_BF16, 4, 32, 8, decode ? 1 : 4096, 4096, 128);
    problem.op = op, problem.causal = 1, problem.page_size = page_size;
    require(ft_problem_set_layout(&problem, FT_BSHD));
    tensors.q = at(0x100000), tensors.k = at(0x200000), tensors.v = at(0x300000), tensors.o = at(0x400000);
    if (decode) tensors.lengths = static_cast<const int32_t*>(at(0x500000));
    if (page_size > 0) {
      tensors.page_table = static_cast<const int32_t*>(at(0x600000));
      tensors.max_pages = 4096 / page_size, tensors.num_pages = 4 * tensors.max_pages;
    }
    require(ft_prepare(engine, &problem, 1));
  }
  ~Call() { ft_engine_destroy(engine); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  ft_engine* engine = nullptr;
  ft_problem problem{};
  ft_tensors tensors = FT_TENSORS_INIT;
  void* workspace = at(0x700000);
};

void forward(benchmark::State& state, int arch, ft_op op, int page_size) {
  Call call(arch, op, page_size);
  for (auto _ : state) require(ft_forward(call.engine, &call.problem, &call.tensors, call.workspace, nullptr));
}
BENCHMARK_CAPTURE(forward, prefill_mma, 80, FT_PREFILL, 0);
BENCHMARK_CAPTURE(forward, prefill_wgmma, 90, FT_PREFILL, 0);
BENCHMARK_CAPTURE(forward, decode_split, 90, FT_DECODE, 0);
BENCHMARK_CAPTURE(forward, decode_split_in_pages, 90, FT_DECODE, 16);

/// As a server that gives every layer its own cache: the addresses repeat after so many calls.
void forward_of_layers(benchmark::State& state, int arch, ft_op op) {
  Call call(arch, op);
  const auto layers = static_cast<std::uintptr_t>(state.range(0));
  std::uintptr_t layer = 0;
  for (auto _ : state) {
    call.tensors.k = at(0x1000000 + 0x100000 * layer), call.tensors.v = at(0x80000000 + 0x100000 * layer);
    require(ft_forward(call.engine, &call.problem, &call.tensors, call.workspace, nullptr));
    layer = layer + 1 == layers ? 0 : layer + 1;
  }
}
BENCHMARK_CAPTURE(forward_of_layers, prefill_wgmma, 90, FT_PREFILL)->Arg(4)->Arg(80);

/// A length that grows by one at each step, which no call has prepared.
void forward_of_growing_lengths(benchmark::State& state, int arch, ft_op op) {
  Call call(arch, op);
  for (auto _ : state) {
    call.problem.seq_kv = call.problem.seq_kv == 4096 ? 1 : call.problem.seq_kv + 1;
    require(ft_forward(call.engine, &call.problem, &call.tensors, call.workspace, nullptr));
  }
}
BENCHMARK_CAPTURE(forward_of_growing_lengths, decode_split, 90, FT_DECODE);

void decide(benchmark::State& state) {
  Call call(90, FT_PREFILL);
  ft_decision decision = FT_DECISION_INIT;
  for (auto _ : state) {
    require(ft_decide(call.engine, &call.problem, &decision));
    benchmark::DoNotOptimize(decision);
  }
}
BENCHMARK(decide);

}  // namespace
}  // namespace flashtune
