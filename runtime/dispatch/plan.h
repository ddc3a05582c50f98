// How a candidate is launched on a problem: grid, block, shared memory, workspace, parameters.
#pragma once

#include <cstddef>
#include <variant>

#include "cache/records.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/resources.h"
#include "runtime/device/device.h"

namespace flashtune {

/// The tensors of one call: device addresses. lse may be 0.
struct Tensors {
  DevicePtr q = 0, k = 0, v = 0, o = 0, lse = 0;
  float scale = 0;  // the softmax scale, as kernel_scale() takes it; 0 is 0, callers default it to 1/sqrt(head_dim)

  // --- decode
  DevicePtr lengths = 0;     // int32 [batch]: keys of each sequence, the new ones among them; 0: all have seq_kv
  DevicePtr page_table = 0;  // int32 [batch, max_pages]: the page of each page_size keys; with pages only
  int num_pages = 0;         // pages that K and V hold
  int max_pages = 0;         // columns of the table
  int capacity = 0;          // contiguous: rows of a sequence that K and V hold; 0: at least seq_kv
};

/// The tensors of one append: device addresses, strides in elements.
struct AppendTensors {
  DevicePtr k_new = 0, v_new = 0;  // [batch, seq_q, kv_heads, head_dim] each by its strides
  Strides k_new_strides, v_new_strides;
  DevicePtr k = 0,
            v = 0;  // the cache, by the problem's strides; what follows as in Tensors, the lengths with the new keys
  DevicePtr lengths = 0;
  DevicePtr page_table = 0;
  int num_pages = 0;
  int max_pages = 0;
  int capacity = 0;

  Rope rope = Rope::kNone;
  int rotary_dim = 0;          // dims from the first on that are rotated: a multiple of 16
  DevicePtr cos = 0, sin = 0;  // fp32 [rope_positions, rotary_dim / 2]
  int rope_positions = 0;
  DevicePtr q = 0, q_out = 0;  // both by the problem's strides of q, and may be the same; 0: no query is rotated
};

using AnyParams = std::variant<PrefillParams, DecodeParams, AppendParams, PrefillWgmmaParams, PrefillScalarParams>;

struct Plan {
  unsigned grid[3] = {1, 1, 1};
  unsigned block = 1;
  unsigned smem_bytes = 0;
  unsigned cluster = 1;         // blocks of the grid that run as one cluster
  bool early = false;           // begins before earlier launches have ended, and waits for them itself
  unsigned combine_blocks = 0;  // > 0: a second kernel of the candidate follows, with as many threads and shared memory
  std::size_t workspace_bytes = 0;
  std::size_t workspace_head = 0;            // bytes at its front that are zero before and after each launch
  std::size_t k_skipped = 0, v_skipped = 0;  // bytes at the front of K and V that the launch is not told of
  AnyParams params;                          // pointers filled by bind()
  TensorBox q_box, k_box, v_box, o_box;  // for the copy engine, where the family uses it; addresses filled by bind()
};

/// Throws Error(kInvalidArgument) for a problem that no family computes.
void require_supported(const Problem& problem);

Plan make_plan(const Candidate& candidate, const Problem& problem, const ArchLimits& limits);

/// The plan's parameters with this call's pointers and scale, for a launch on `device`. `workspace`:
/// plan.workspace_bytes that were zero before the first launch that used them; 0 where none are needed. Throws
/// Error(kInvalidArgument) for a scale that kernels cannot compute with.
AnyParams bind(const Plan& plan, const Tensors& tensors, DevicePtr workspace, const Device& device);

/// The plan of an append with this call's pointers in its parameters, and blocks for the queries where there are any.
Plan bind_append(const Plan& plan, const AppendTensors& tensors, DevicePtr workspace);

/// The query rows and the keys that a block takes in one step: lengths beside multiples of these are where a kernel's
/// edges are.
struct TileSteps {
  int rows = 0, keys = 0;
};
TileSteps tile_steps(const Candidate& candidate);

/// A candidate that was tuned for one problem, on a GPU of `tuned_sms` SMs, as another is to use it on one of `sms`:
/// with as many splits as keep the GPU as full, and with as many keys each where the problems are too short to fill it.
/// On a GPU with other SMs a cluster has 8 blocks at most, which all can hold.
Candidate adapted(const Candidate& candidate, const Problem& tuned_for, int tuned_sms, const Problem& problem, int sms);

/// Whether a candidate that was tuned for one problem would read the keys of another more often than a kernel need: a
/// decode kernel for few packed rows, and a problem that packs more.
bool reads_keys_again(const Candidate& candidate, const Problem& tuned_for, const Problem& problem);

/// The softmax scale of everybody who asks for no other.
float default_scale(const Problem& problem);

/// The one validity predicate, for any family: on all problems of these traits, and on this one.
Rejection rejection_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits);
Rejection rejection_of(const Candidate& candidate, const Problem& problem, const ArchLimits& limits);
Resources resources_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits);

/// The limits of a device: its architecture's, with its own number of SMs where that is known.
ArchLimits limits_of(const DeviceKey& device);

/// A config of prefill_wgmma whose tile, stages and schedule are chosen, with the rest as it has usually paid on the
/// H200 (docs/performance.md).
PrefillWgmmaConfig with_usual(PrefillWgmmaConfig config, const KernelTraits& traits, const ArchLimits& limits);

/// The built-in default: a config for every supported problem on every architecture, admitted by rejection_of.
Candidate fallback(const Problem& problem, const ArchLimits& limits);

}  // namespace flashtune
