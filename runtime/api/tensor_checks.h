// What is checked of a call's tensors before anything is launched on them.
#pragma once

#include "runtime/launch/tensors.h"

namespace flashtune {

/// Throws Error(kInvalidArgument) that names the tensor: null or misaligned pointers, an output whose strides make
/// elements share memory, a softmax scale that kernel_scale() refuses. K and V may be null where there are no keys. Of
/// decode, also a cache that is too small for seq_kv.
void check_tensors(const Problem& problem, const Tensors& tensors);

/// The parts of check_tensors() that are asked at each call (null or misaligned pointers, the cache), and the one that
/// the problem alone answers. The scale is judged where it is bound, too.
void check_addresses(const Problem& problem, const Tensors& tensors);
bool outputs_are_distinct(const Problem& problem);

/// The same of an append, whose problem is that of the decode that follows: null or misaligned pointers, strides that
/// no copy can have, a cache in which rows share memory or that is too small, rotary tables that do not reach seq_kv.
void check_append(const Problem& problem, const AppendTensors& tensors);

/// The cache alone: what reading it takes.
Tensors cache_of(const AppendTensors& tensors);

}  // namespace flashtune
