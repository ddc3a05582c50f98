// The kernels whose code digests are recorded: chosen by a rule, so that a new family, type or answer of the README is
// watched without anybody's thinking of it.
#pragma once

#include <vector>

#include "cache/records.h"
#include "runtime/jit/source.h"

namespace flashtune {

/// The problem that stands for all of these traits.
Problem typical_problem(const KernelTraits& traits);

/// Each once, in a fixed order, on sm_80 and sm_90:
///   - each family with each type and mask that it takes, on either architecture; with each of these a cache has pages
///     on one of the two. Head dims take turns, and so do the variants of the family's default (watched_kernels.cpp),
///     of which none is left out;
///   - the built-in defaults of prefill on sm_90 and the presets of the ladder;
///   - what the README's tables ran, thinned so that each value of each field stays.
/// Throws Error where that cannot be had: a variant that no problem takes, an answer that is no longer legal.
std::vector<KernelSpec> watched_kernels();

/// Of these: the defaults of prefill on sm_90, by head dim and mask.
std::vector<KernelSpec> hopper_defaults();
/// Of these: the ladder's presets on either architecture, one block to an SM; most stand in no space.
std::vector<KernelSpec> ladder_presets();

}  // namespace flashtune
