// Identities: readable text first, hashed second. A problem's bucket is what a database answer is looked up by.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cache/records.h"

namespace flashtune {

/// 128-bit xxHash of bytes, as 32 hex digits.
std::string digest_of(std::string_view bytes);

/// Sizes rounded so that a growing context does not miss at every step: lengths up to the next of 1, 1.25, 1.5, 1.75 times a
/// power of two (exact below 64), batch to the next power of two, windows like lengths. Everything else is exact; strides
/// become those of the problem's layout (kStrided keeps none).
Problem bucket_of(const Problem& problem);

/// A 64-bit hash of bucket_of(problem) without building it as text: no allocation, a few tens of nanoseconds.
std::uint64_t bucket_hash(const Problem& problem);

/// Text of everything that identifies a trial; two trials are the same exactly when these are.
std::string trial_key_text(const TrialKey& key);

/// Distance of two problems that some config could serve alike, in log2 space over batch * heads, lengths, group and window;
/// nothing when they differ in what a kernel is compiled for.
std::optional<double> distance(const Problem& a, const Problem& b);

}  // namespace flashtune
