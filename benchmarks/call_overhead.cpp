// What ft_forward() costs the host on a GPU beyond the driver's own launch with the same attributes and parameters: the
// two by turns, in blocks of 1,000, the GPU idle before each.
//
//   call_overhead
//
// Exit codes: 0 done, 1 something failed, 3 there is no GPU that flashtune can use.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

#include "flashtune/flashtune.h"
#include "runtime/api/c_api.h"
#include "runtime/device/cuda_device.h"
#include "runtime/launch/bind.h"
#include "runtime/launch/loaded_candidate.h"

namespace flashtune {
namespace {

constexpr int kExitNoGpu = 3;
constexpr int kCalls = 1000, kBlocks = 61;  // fewer calls than launches that a driver lets wait

struct Case {
  const char* name;
  Dtype dtype;
  Op op;
  int head_dim;
};
// Small, so that the GPU has never more to do than the host.
constexpr Case kCases[] = {{"prefill, 16 bits", Dtype::kBf16, Op::kPrefill, 64},
                           {"prefill, fp32", Dtype::kFp32, Op::kPrefill, 64},
                           {"decode", Dtype::kBf16, Op::kDecode, 64}};

template <class Call>
double nanoseconds_of(Device& device, const Call& call) {
  device.synchronize();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) call();
  const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
  device.synchronize();
  return taken.count() / kCalls;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void require(ft_status status) {
  if (status != FT_OK) throw std::runtime_error(ft_last_error());
}

Problem problem_of(const Case& one) {
  Problem p;
  p.op = one.op, p.dtype = one.dtype, p.precision = usual_precision(one.dtype);
  p.seq_q = one.op == Op::kDecode ? 1 : 64, p.seq_kv = 64;
  p.head_dim = p.head_dim_v = one.head_dim;
  p.causal = true;
  return with_layout(p, Layout::kBshd);
}

void measure(const Case& one) {
  EngineOptions options;
  options.compiler.cubin_folder.reset();
  ft_engine* engine = make_engine_handle(open_cuda_device(0), options);
  EngineImpl& impl = engine->impl;
  Device& device = impl.device();
  const Problem p = problem_of(one);

  ft_problem asked;
  ft_problem_init(&asked, static_cast<ft_dtype>(p.dtype), 1, 1, 1, p.seq_q, p.seq_kv, p.head_dim);
  asked.op = static_cast<int32_t>(p.op), asked.causal = 1;
  require(ft_problem_set_layout(&asked, FT_BSHD));
  require(ft_prepare(engine, &asked, 1));
  size_t bytes = 0;
  require(ft_workspace_bytes(engine, &asked, &bytes));
  void *memory = nullptr, *workspace = nullptr;
  constexpr size_t kTensorBytes = 1 << 20;
  require(ft_allocate(engine, 4 * kTensorBytes, &memory));
  require(ft_allocate(engine, std::max<size_t>(bytes, 4), &workspace));
  const auto at = [&](size_t i) { return static_cast<char*>(memory) + i * kTensorBytes; };
  ft_tensors tensors = FT_TENSORS_INIT;
  tensors.q = at(0), tensors.k = at(1), tensors.v = at(2), tensors.o = at(3);

  const Candidate candidate = impl.decide(p).candidate;
  const KernelCompiler compiler(options.compiler);
  const Compiled compiled = compiler.compile({candidate, traits_of(p), impl.limits().arch});
  if (!compiled.ok) throw std::runtime_error(compiled.log);
  const LoadedCandidate loaded = load_candidate(device, compiled.cubin, candidate, traits_of(p), impl.limits());
  const Plan plan = make_plan(candidate, p, impl.limits());
  Tensors same;
  const auto address = [](const void* pointer) { return reinterpret_cast<DevicePtr>(pointer); };
  same.q = address(tensors.q), same.k = address(tensors.k), same.v = address(tensors.v), same.o = address(tensors.o);
  same.scale = 0.125f;
  const AnyParams params = bind(plan, same, address(workspace), device);
  const Launch launch = launch_of(plan, params, nullptr);

  const auto bare = [&] { device.launch(*loaded.kernel, launch); };
  const auto whole = [&] { require(ft_forward(engine, &asked, &tensors, workspace, nullptr)); };
  nanoseconds_of(device, bare), nanoseconds_of(device, whole);
  std::vector<double> of_bare, of_whole, more;
  for (int i = 0; i < kBlocks; ++i) {
    const double a = nanoseconds_of(device, bare), b = nanoseconds_of(device, whole);
    of_bare.push_back(a), of_whole.push_back(b), more.push_back(b - a);
  }
  std::puts(fmt::format("{:18} {:14} bare {:6.0f} ns, ft_forward {:6.0f} ns, more {:5.0f} ns (median of {} pairs)",
                        one.name, name_of(candidate.family()), median(of_bare), median(of_whole), median(more), kBlocks)
                .c_str());
  ft_free(engine, workspace);
  ft_free(engine, memory);
  ft_engine_destroy(engine);
}

int run() {
  if (const CudaInventory inventory = list_cuda_devices(); inventory.devices.empty()) {
    std::fprintf(stderr, "skipped: %s\n", inventory.why_none.c_str());
    return kExitNoGpu;
  }
  try {
    for (const Case& one : kCases) measure(one);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "call_overhead: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace flashtune

int main() { return flashtune::run(); }
