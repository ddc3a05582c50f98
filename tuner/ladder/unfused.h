// Attention before FlashAttention: two batched products with a mask and a softmax between them, the scores in global
// memory. A check on the fused kernels that shares nothing with them, and the first rung of the ladder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/device/device.h"
#include "runtime/jit/source.h"

namespace flashtune {

/// The kernels of Unfused for an architecture, and their names. For a GPU they go through
/// KernelCompiler::compile_source, for the simulated device through SimCompiler::compile_text.
Source unfused_source(int arch, const Templates& templates);
const std::vector<std::string>& unfused_entries();

/// fp32 matrices in device memory, [batch, rows, cols], row-major and contiguous. Of attention, batch counts the heads
/// of all batch entries.
struct MatrixBatch {
  DevicePtr at = 0;
  int batch = 1, rows = 1, cols = 1;
  std::size_t bytes() const;
};

/// Launches return at once, as Device::launch does. They throw Error(kInvalidArgument) for sizes that are not positive
/// or do not fit each other, null or odd pointers, results that overlap what they are made from where that is not
/// allowed, and what no grid can hold.
class Unfused {
 public:
  /// `cubin`: unfused_source, compiled for this device.
  Unfused(Device& device, const std::string& cubin);

  /// c = a b^T and c = a b for each matrix of a batch.
  void gemm_nt(const MatrixBatch& a, const MatrixBatch& b, const MatrixBatch& c, Stream stream = nullptr) const;
  void gemm_nn(const MatrixBatch& a, const MatrixBatch& b, const MatrixBatch& c, Stream stream = nullptr) const;

  /// to = scale * from; with `causal`, -inf in row i past column i + cols - rows (bottom-right alignment). `to` may be
  /// `from`.
  void scale_and_mask(const MatrixBatch& from, const MatrixBatch& to, float scale, bool causal,
                      Stream stream = nullptr) const;

  /// Softmax over the last dimension, and over the one before it. A row or column of nothing but -inf becomes zeros.
  /// `to` may be `from`.
  void softmax_rows(const MatrixBatch& from, const MatrixBatch& to, Stream stream = nullptr) const;
  void softmax_columns(const MatrixBatch& from, const MatrixBatch& to, Stream stream = nullptr) const;

  /// o = softmax(mask(scale * q k^T)) v. q [heads, seq_q, d], k [heads, seq_kv, d], v [heads, seq_kv, d_v], o [heads,
  /// seq_q, d_v]; `scores`, [heads, seq_q, seq_kv], holds the probabilities afterwards.
  void attention(const MatrixBatch& q, const MatrixBatch& k, const MatrixBatch& v, const MatrixBatch& o,
                 const MatrixBatch& scores, float scale, bool causal, Stream stream = nullptr) const;

 private:
  void launch(const LoadedKernel& kernel, long long blocks, int threads, int smem_bytes, const void* params,
              Stream stream) const;
  void multiply(const LoadedKernel& kernel, const MatrixBatch& a, const MatrixBatch& b, const MatrixBatch& c,
                Stream stream) const;

  Device& device_;
  std::unique_ptr<LoadedKernel> gemm_nt_, gemm_nn_, scale_mask_, softmax_rows_, softmax_columns_;
};

}  // namespace flashtune
