// The unfused kernels on any device against double precision: random inputs, poisoned outputs, every element looked at.
// Attention made of them is judged by the oracle, as every kernel's is. A product alone and a softmax alone are no
// attention, which is all that the oracle computes: these are compared with their own formulas.
#pragma once

#include <string>
#include <vector>

#include "runtime/device/device.h"
#include "tuner/ladder/unfused.h"
#include "tuner/tensors/inputs.h"

namespace flashtune {

/// Each check returns what is wrong, or "".
class UnfusedCase {
 public:
  /// `guard`: floats past each output that must stay as they are. 0 for the simulated device, which sees such a step.
  UnfusedCase(Device& device, const std::string& cubin, int guard)
      : device_(device), unfused_(device, cubin), guard_(guard) {}
  const Unfused& unfused() const { return unfused_; }

  enum class B { kTransposed, kPlain };
  /// Every row when `step` is 1, else each `step`th and the last.
  std::string gemm_fault(B b, int batch, int rows, int cols, int depth, int step = 1);

  std::string scale_mask_fault(int batch, int rows, int cols, bool causal);

  enum class Over { kColumns, kRows };  // softmax_rows, softmax_columns
  enum class To { kOther, kItself };
  std::string softmax_fault(Over over, To to, int batch, int rows, int cols);
  /// Of these values, one matrix.
  std::string softmax_fault(Over over, To to, const std::vector<float>& values, int batch, int rows, int cols);

  /// Every row is compared with the oracle's.
  std::string attention_fault(int heads, int seq_q, int seq_kv, int head_dim, bool causal,
                              InputKind kind = InputKind::kNormal);

 private:
  /// A batch of matrices on the device.
  struct Tensor {
    DeviceBuffer buffer;
    MatrixBatch matrices;
  };
  Tensor input(const std::vector<float>& values, int batch, int rows, int cols);
  Tensor output(int batch, int rows, int cols);
  /// Waits. Throws std::runtime_error when the guard has changed.
  std::vector<float> read(const Tensor& tensor);

  Device& device_;
  Unfused unfused_;
  int guard_;
};

}  // namespace flashtune
