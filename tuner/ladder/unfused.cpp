// Writes the source of the unfused kernels, judges sizes and launches.
#include "tuner/ladder/unfused.h"

#include <fmt/format.h>

#include <limits>

#include "cache/error.h"
#include "flashtune/shared/unfused.h"
#include "runtime/launch/softmax_scale.h"

namespace flashtune {
namespace {

constexpr const char* kGemmNtEntry = "flashtune_gemm_nt";
constexpr const char* kGemmNnEntry = "flashtune_gemm_nn";
constexpr const char* kScaleMaskEntry = "flashtune_scale_mask";
constexpr const char* kSoftmaxRowsEntry = "flashtune_softmax_rows";
constexpr const char* kSoftmaxColumnsEntry = "flashtune_softmax_columns";

constexpr int kMostSide = 1 << 30;  // leaves room to round up to tiles in 32 bits
constexpr double kMostElements = 0x1p48;

std::string kernel_text(const char* entry, int threads, const char* params, const char* call) {
  return fmt::format(
      R"(
extern "C" __global__ void __launch_bounds__({}, 2)
{}(const __grid_constant__ flashtune::{} params) {{
  flashtune::{}(params);
}}
)",
      threads, entry, params, call);
}

template <class... Values>
[[noreturn]] void refuse(fmt::format_string<Values...> text, Values&&... values) {
  throw Error(ErrorKind::kInvalidArgument, fmt::format(text, std::forward<Values>(values)...));
}

std::string shape_text(const MatrixBatch& m) { return fmt::format("[{}, {}, {}]", m.batch, m.rows, m.cols); }

void check_matrix(const char* name, const MatrixBatch& m) {
  if (m.at == 0) refuse("{} is a null pointer", name);
  if (m.at % 4 != 0) refuse("{} is at {:#x}; fp32 lies at multiples of 4", name, m.at);
  for (const int side : {m.batch, m.rows, m.cols})
    if (side < 1 || side > kMostSide) refuse("{} is {}; sides are 1 to {}", name, shape_text(m), kMostSide);
  if (1.0 * m.batch * m.rows * m.cols > kMostElements)
    refuse("{} is {}, more than any device holds", name, shape_text(m));
}

void check_shape(const char* name, const MatrixBatch& m, int batch, int rows, int cols, const std::string& why) {
  check_matrix(name, m);
  if (m.batch != batch || m.rows != rows || m.cols != cols)
    refuse("{} is {}, and {} makes it [{}, {}, {}]", name, shape_text(m), why, batch, rows, cols);
}

/// A result may not lie where other blocks still read.
void check_apart(const char* result, const MatrixBatch& to, const char* source, const MatrixBatch& from) {
  if (to.at < from.at + from.bytes() && from.at < to.at + to.bytes())
    refuse("{} at {:#x} overlaps {} at {:#x}", result, to.at, source, from.at);
}

/// For what may be done in place, but not a little beside it.
void check_pair(const MatrixBatch& from, const MatrixBatch& to) {
  check_matrix("from", from);
  check_shape("to", to, from.batch, from.rows, from.cols, "from");
  if (to.at != from.at) check_apart("to", to, "from", from);
}

long long blocks_of(int sides, int most) { return (sides - 1) / most + 1; }

}  // namespace

std::size_t MatrixBatch::bytes() const {
  return sizeof(float) * static_cast<std::size_t>(batch) * static_cast<std::size_t>(rows) *
         static_cast<std::size_t>(cols);
}

const std::vector<std::string>& unfused_entries() {
  static const std::vector<std::string> entries = {kGemmNtEntry, kGemmNnEntry, kScaleMaskEntry, kSoftmaxRowsEntry,
                                                   kSoftmaxColumnsEntry};
  return entries;
}

Source unfused_source(int arch, const Templates& templates) {
  std::string text = fmt::format(
      R"(// The unfused kernels for sm_{}, written by flashtune.
#include "flashtune/kernels/batched_gemm.cuh"
#include "flashtune/kernels/unfused_softmax.cuh"

// The host launches by its own reckoning; a compiler that reckons otherwise must not go unnoticed.
static_assert(flashtune::kUnfusedGemm.threads() == {}, "host and device disagree on the threads of a block");
static_assert(flashtune::kUnfusedGemm.smem_bytes() == {}, "host and device disagree on shared memory");
static_assert(sizeof(flashtune::GemmParams) == {}, "host and device disagree on the parameters");
static_assert(sizeof(flashtune::ScaleMaskParams) == {}, "host and device disagree on the parameters");
static_assert(sizeof(flashtune::SoftmaxParams) == {}, "host and device disagree on the parameters");
)",
      arch, kUnfusedGemm.threads(), kUnfusedGemm.smem_bytes(), sizeof(GemmParams), sizeof(ScaleMaskParams),
      sizeof(SoftmaxParams));
  text += kernel_text(kGemmNtEntry, kUnfusedGemm.threads(), "GemmParams",
                      "batched_gemm<flashtune::kUnfusedGemm, flashtune::Along::kDepth>");
  text += kernel_text(kGemmNnEntry, kUnfusedGemm.threads(), "GemmParams",
                      "batched_gemm<flashtune::kUnfusedGemm, flashtune::Along::kLines>");
  text += kernel_text(kScaleMaskEntry, kUnfusedThreads, "ScaleMaskParams", "scale_mask");
  text += kernel_text(kSoftmaxRowsEntry, kUnfusedThreads, "SoftmaxParams", "softmax_rows");
  text += kernel_text(kSoftmaxColumnsEntry, kUnfusedThreads, "SoftmaxParams", "softmax_columns");
  return make_source(std::move(text), kGemmNtEntry, fmt::format("sm_{}", arch), templates);
}

Unfused::Unfused(Device& device, const std::string& cubin)
    : device_(device),
      gemm_nt_(device.load(cubin, kGemmNtEntry, kUnfusedGemm.smem_bytes())),
      gemm_nn_(device.load(cubin, kGemmNnEntry, kUnfusedGemm.smem_bytes())),
      scale_mask_(device.load(cubin, kScaleMaskEntry, 0)),
      softmax_rows_(device.load(cubin, kSoftmaxRowsEntry, kSoftmaxRowsSmem)),
      softmax_columns_(device.load(cubin, kSoftmaxColumnsEntry, kSoftmaxColumnsSmem)) {}

void Unfused::launch(const LoadedKernel& kernel, long long blocks, int threads, int smem_bytes, const void* params,
                     Stream stream) const {
  constexpr long long kMostBlocks = std::numeric_limits<int>::max();
  if (blocks > kMostBlocks)
    refuse("these sizes need {} blocks and a grid has at most {}: take a part of the batch at a time", blocks,
           kMostBlocks);
  Launch launch;
  launch.grid[0] = static_cast<unsigned>(blocks);
  launch.block = static_cast<unsigned>(threads);
  launch.smem_bytes = static_cast<unsigned>(smem_bytes);
  launch.params = params;
  launch.stream = stream;
  device_.launch(kernel, launch);
}

void Unfused::multiply(const LoadedKernel& kernel, const MatrixBatch& a, const MatrixBatch& b, const MatrixBatch& c,
                       Stream stream) const {
  check_apart("c", c, "a", a), check_apart("c", c, "b", b);
  const GemmParams params{reinterpret_cast<const float*>(a.at),
                          reinterpret_cast<const float*>(b.at),
                          reinterpret_cast<float*>(c.at),
                          c.rows,
                          c.cols,
                          a.cols};
  const long long blocks = c.batch * blocks_of(c.rows, kUnfusedGemm.rows) * blocks_of(c.cols, kUnfusedGemm.cols);
  launch(kernel, blocks, kUnfusedGemm.threads(), kUnfusedGemm.smem_bytes(), &params, stream);
}

void Unfused::gemm_nt(const MatrixBatch& a, const MatrixBatch& b, const MatrixBatch& c, Stream stream) const {
  check_matrix("a", a), check_matrix("b", b);
  check_shape("b", b, a.batch, b.rows, a.cols, "a b^T of a " + shape_text(a));
  check_shape("c", c, a.batch, a.rows, b.rows, "a b^T");
  multiply(*gemm_nt_, a, b, c, stream);
}

void Unfused::gemm_nn(const MatrixBatch& a, const MatrixBatch& b, const MatrixBatch& c, Stream stream) const {
  check_matrix("a", a), check_matrix("b", b);
  check_shape("b", b, a.batch, a.cols, b.cols, "a b of a " + shape_text(a));
  check_shape("c", c, a.batch, a.rows, b.cols, "a b");
  multiply(*gemm_nn_, a, b, c, stream);
}

void Unfused::scale_and_mask(const MatrixBatch& from, const MatrixBatch& to, float scale, bool causal,
                             Stream stream) const {
  check_pair(from, to);
  (void)kernel_scale(scale);
  const ScaleMaskParams params{
      reinterpret_cast<const float*>(from.at), reinterpret_cast<float*>(to.at), from.rows, from.cols, 0, causal, scale};
  launch(*scale_mask_, 1ll * from.batch * from.rows, kUnfusedThreads, 0, &params, stream);
}

void Unfused::softmax_rows(const MatrixBatch& from, const MatrixBatch& to, Stream stream) const {
  check_pair(from, to);
  const SoftmaxParams params{reinterpret_cast<const float*>(from.at), reinterpret_cast<float*>(to.at), from.rows,
                             from.cols};
  launch(*softmax_rows_, 1ll * from.batch * from.rows, kUnfusedThreads, kSoftmaxRowsSmem, &params, stream);
}

void Unfused::softmax_columns(const MatrixBatch& from, const MatrixBatch& to, Stream stream) const {
  check_pair(from, to);
  const SoftmaxParams params{reinterpret_cast<const float*>(from.at), reinterpret_cast<float*>(to.at), from.rows,
                             from.cols};
  launch(*softmax_columns_, from.batch * blocks_of(from.cols, kSoftmaxColumns), kUnfusedThreads, kSoftmaxColumnsSmem,
         &params, stream);
}

void Unfused::attention(const MatrixBatch& q, const MatrixBatch& k, const MatrixBatch& v, const MatrixBatch& o,
                        const MatrixBatch& scores, float scale, bool causal, Stream stream) const {
  // All of it is judged before the first launch.
  (void)kernel_scale(scale);
  check_matrix("q", q), check_matrix("k", k), check_matrix("v", v);
  check_shape("k", k, q.batch, k.rows, q.cols, "q of " + shape_text(q));
  check_shape("v", v, q.batch, k.rows, v.cols, "k of " + shape_text(k));
  check_shape("o", o, q.batch, q.rows, v.cols, "softmax(q k^T) v");
  check_shape("scores", scores, q.batch, q.rows, k.rows, "q k^T");
  check_apart("scores", scores, "q", q), check_apart("scores", scores, "k", k);
  check_apart("scores", scores, "v", v), check_apart("o", o, "scores", scores), check_apart("o", o, "v", v);
  gemm_nt(q, k, scores, stream);
  scale_and_mask(scores, scores, scale, causal, stream);
  softmax_rows(scores, scores, stream);
  gemm_nn(scores, v, o, stream);
}

}  // namespace flashtune
