// Digests, trial keys and the distance between problems.
#include "cache/keys.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cmath>
#include <memory>
#include <new>

#include "cache/codec.h"

namespace flashtune {
namespace {

/// Free text made safe between the key's bars: two different keys can never have one text.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string text_of(const XXH128_hash_t& hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  return fmt::format("{:02x}", fmt::join(canonical.digest, canonical.digest + sizeof(canonical.digest), ""));
}

double square_of_log2_ratio(double a, double b) {
  if (a == b) return 0;
  // Nothing (a length of 0) counts as one.
  const double log2_ratio = std::log2(std::max(a, 1.0) / std::max(b, 1.0));
  return log2_ratio * log2_ratio;
}

}  // namespace

std::string digest_of(std::string_view bytes) { return text_of(XXH3_128bits(bytes.data(), bytes.size())); }

std::string digest_of_all(const std::vector<std::string_view>& parts) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  if (!state) throw std::bad_alloc();
  XXH3_128bits_reset(state.get());
  for (const std::string_view part : parts) XXH3_128bits_update(state.get(), part.data(), part.size());
  return text_of(XXH3_128bits_digest(state.get()));
}

std::string trial_key_text(const TrialKey& key) {
  return trial_key_text(key.device, candidate_to_text(key.candidate), problem_to_text(key.problem), key.cubin_digest,
                        key.policy);
}

std::string trial_key_text(const DeviceKey& device, std::string_view candidate, std::string_view problem,
                           std::string_view cubin_digest, std::string_view policy) {
  return fmt::format("{} | {} | {} | cubin {} | {}", escaped(device_to_text(device)), candidate, problem,
                     escaped(cubin_digest), escaped(policy));
}

std::optional<double> distance(const Problem& a, const Problem& b) {
  if (traits_of(a) != traits_of(b)) return std::nullopt;
  constexpr double kNoneAndOne = 0.25;  // how far a size of 1 is from none at all, which counts as one
  double squares = square_of_log2_ratio(1.0 * a.batch * a.heads, 1.0 * b.batch * b.heads) +
                   square_of_log2_ratio(1.0 * a.heads / a.kv_heads, 1.0 * b.heads / b.kv_heads);
  bool one_kernel = true;
  visit_problems(
      [&](const auto& field, const auto& of_a, const auto& of_b) {
        if (field.kernel == KernelRole::kJoinedSize) return;  // above
        if constexpr (std::is_same_v<decltype(of_a), const int&>)
          if (field.kernel != KernelRole::kCompiled && of_a != of_b) {
            const double square = square_of_log2_ratio(of_a, of_b);
            squares += square > 0 ? square : kNoneAndOne * kNoneAndOne;
          }
        if (field.kernel == KernelRole::kCompiled)
          one_kernel = one_kernel && bucket_value(field, a) == bucket_value(field, b);
      },
      a, b);
  if (!one_kernel) return std::nullopt;
  // Layouts change locality, not shape: enough to prefer the same one among equals.
  return std::sqrt(squares) + (bucket_layout(a) == bucket_layout(b) ? 0.0 : 0.25);
}

}  // namespace flashtune
