// Identities: readable text first, hashed second. A problem's bucket is what a database answer is looked up by.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "cache/records.h"
#include "flashtune/shared/fields.h"

namespace flashtune {

/// 128-bit xxHash of bytes, as 32 hex digits.
std::string digest_of(std::string_view bytes);
/// The same of parts one after the other, which nobody joins for it.
std::string digest_of_all(const std::vector<std::string_view>& parts);

/// The next of 1, 1.25, 1.5, 1.75 times a power of two; exact up to 64. Saturates.
constexpr int bucket_of_length(int length) {
  if (length <= 64) return length;
  const int step_log2 = std::bit_width(static_cast<unsigned>(length - 1)) - 3;  // a quarter of the power of two below
  const std::int64_t up = ((static_cast<std::int64_t>(length) - 1) >> step_log2) + 1;
  return static_cast<int>(std::min<std::int64_t>(up << step_log2, std::numeric_limits<int>::max()));
}

/// The next power of two. Saturates.
constexpr int bucket_of_batch(int batch) {
  if (batch <= 1) return batch;
  return static_cast<int>(
      std::min(std::bit_ceil(static_cast<unsigned>(batch)), unsigned{std::numeric_limits<int>::max()}));
}

/// The problem's layout, whatever room a cache leaves behind the keys that a sequence may have.
constexpr Layout bucket_layout(const Problem& problem) {
  if (problem.op != Op::kDecode || problem.page_size > 0) return layout_of(problem);
  Problem tight = problem;
  for (const Layout layout : {Layout::kBshd, Layout::kBhsd}) {
    const Problem model = with_layout(problem, layout);
    tight.k = model.k, tight.v = model.v;
    const bool within = tight.k.row == problem.k.row && tight.v.row == problem.v.row &&
                        problem.k.batch >= tight.k.batch && problem.v.batch >= tight.v.batch;
    // Of heads one after the other the distance grows with the room, too.
    const bool heads = layout == Layout::kBhsd ? problem.k.head >= tight.k.head && problem.v.head >= tight.v.head
                                               : problem.k.head == tight.k.head && problem.v.head == tight.v.head;
    if (within && heads && tight == model) return layout;
  }
  return Layout::kStrided;
}

/// What the bucket of `problem` holds of a field. This and bucket_layout() are the whole rule: bucket_of(), in_bucket()
/// and bucket_hash() ask them.
template <class T>
[[gnu::always_inline]] constexpr T bucket_value(const Field<T>& field, const Problem& problem) {
  if (field.computed != nullptr) return field.computed(problem);
  const T value = problem.*field.member;
  if constexpr (std::is_same_v<T, int>) {
    if (field.bucket == BucketRule::kPowerOfTwo) return bucket_of_batch(value);
    if (field.bucket == BucketRule::kLadder) return bucket_of_length(value);
  }
  return value;
}

/// Sizes rounded so that a growing context does not miss at every step, by each field's rule: lengths and windows up to
/// the next of 1, 1.25, 1.5, 1.75 times a power of two (exact below 64), batch to the next power of two. Everything
/// else is exact; strides become those of the problem's layout (kStrided keeps none).
constexpr Problem bucket_of(const Problem& problem) {
  Problem b = problem;
  visit_problem(b, [&](const auto& field, auto& value) { value = bucket_value(field, problem); });
  const Layout layout = bucket_layout(problem);
  if (layout != Layout::kStrided) return with_layout(b, layout);
  b.q = b.k = b.v = b.o = Strides{};
  return b;
}

/// A bucket as configs are judged for it: one of strided problems keeps no strides, and most of these problems have
/// such as any kernel takes. Who launches asks again, with the problem's own.
constexpr Problem with_usual_strides(const Problem& bucket) {
  return bucket_layout(bucket) == Layout::kStrided ? with_layout(bucket, Layout::kBshd) : bucket;
}

/// Whether bucket_of(problem) has the fields of `bucket`, without building it: that alone would take longer than all
/// the rest of a lookup. Strides are not compared: bucket_layout() is.
constexpr bool in_bucket(const Problem& bucket, const Problem& problem) {
  bool same = true;
  visit_problem(
      bucket, [&](const auto& field, const auto& value)
                  __attribute__((always_inline)) { same = same && value == bucket_value(field, problem); });
  return same;
}

/// A 64-bit hash of bucket_of(problem) without building it as text: no allocation, a few tens of nanoseconds. Good
/// within one process; what is stored is text.
constexpr std::uint64_t bucket_hash(const Problem& p) {
  std::uint64_t hash = 0x9E3779B97F4A7C15u;
  // Each step is a bijection of the word for a given state (odd multipliers, xor-shifts), so no field can cancel alone.
  const auto mix = [&hash](std::uint64_t word) __attribute__((always_inline)) {
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  };
  // Two fields make a word. All of this is unrolled: which of them waits is known at every step.
  std::uint64_t waiting = static_cast<std::uint32_t>(bucket_layout(p));
  bool waits = true;
  visit_problem(
      p, [&](const auto& field, const auto&) __attribute__((always_inline)) {
        const std::uint64_t value = static_cast<std::uint32_t>(bucket_value(field, p));
        if (waits)
          mix(waiting << 32 | value);
        else
          waiting = value;
        waits = !waits;
      });
  if (waits) mix(waiting);
  hash *= 0xD6E8FEB86659FD93u;
  return hash ^ hash >> 32;
}

/// Text of everything that identifies a trial; two trials are the same exactly when these are.
std::string trial_key_text(const TrialKey& key);
/// The same of a candidate and a problem as texts, which may be of a newer flashtune.
std::string trial_key_text(const DeviceKey& device, std::string_view candidate, std::string_view problem,
                           std::string_view cubin_digest, std::string_view policy);

/// Distance of two problems that some config could serve alike, in log2 space over batch * heads, lengths, group and
/// window, and a quarter step more where the layouts differ; nothing when they differ in what a kernel is compiled for.
std::optional<double> distance(const Problem& a, const Problem& b);

}  // namespace flashtune
