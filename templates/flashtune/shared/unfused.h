// The unfused kernels: what they are launched with, and the sizes that host and device must agree on. Matrices are
// fp32, row-major, contiguous, and come in batches. Read by g++, nvcc and NVRTC alike.
#pragma once

namespace flashtune {

/// How a block of batched_gemm is cut: a tile of `rows` x `cols` of the result, `depth` at a time; a thread computes
/// `thread_rows` x `thread_cols` of it, multiples of 4.
struct GemmTile {
  int rows, cols, depth;
  int thread_rows, thread_cols;

  constexpr int threads() const { return rows / thread_rows * (cols / thread_cols); }
  // In shared memory the operands lie by depth; four floats more in a line, so that the transposing stores of a warp
  // meet in a bank two by two and not eight by eight, and lines stay 16-byte aligned.
  constexpr int a_pitch() const { return rows + 4; }
  constexpr int b_pitch() const { return cols + 4; }
  constexpr int stage_bytes() const { return 4 * depth * (a_pitch() + b_pitch()); }
  constexpr int smem_bytes() const { return 2 * stage_bytes(); }  // one stage is filled while the other is read
};

/// 8 x 4 results of a thread take 12 floats out of shared memory for 32 multiplications.
constexpr GemmTile kUnfusedGemm{128, 64, 16, 8, 4};

/// C = A B^T or A B, A [batch, rows, depth], B [batch, cols, depth] or [batch, depth, cols], C [batch, rows, cols].
struct GemmParams {
  const float* a;
  const float* b;
  float* c;
  int rows, cols, depth;
};

constexpr int kUnfusedThreads = 256;  // of a block of the kernels below

/// to = scale * from, and -inf where `causal` masks: row i sees columns up to i + seq_kv - seq_q. Both [batch, seq_q,
/// seq_kv]; a block for each row. `to` may be `from`.
struct ScaleMaskParams {
  const float* from;
  float* to;
  int seq_q, seq_kv;
  int window;  // 0: there is none
  int causal;
  float scale;
};

/// to = softmax(from) over the columns of each row, or over the rows of each column. Both [batch, rows, cols]; `to` may
/// be `from`.
struct SoftmaxParams {
  const float* from;
  float* to;
  int rows, cols;
};

constexpr int kSoftmaxColumns = 32;  // that a block of softmax_columns takes: a lane for each

/// Shared memory: a maximum and a sum of each warp, of one row or of each column.
constexpr int kSoftmaxRowsSmem = kUnfusedThreads / 32 * 8;
constexpr int kSoftmaxColumnsSmem = kSoftmaxRowsSmem * kSoftmaxColumns;

}  // namespace flashtune
