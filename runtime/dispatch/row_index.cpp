// Sorting rows onto shelves, and the search along a shelf: see the header.
#include "runtime/dispatch/row_index.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <tuple>

#include "cache/keys.h"
#include "flashtune/shared/fields.h"
#include "runtime/dispatch/adapted.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

/// What distance() demands to be equal, as one word. Two kernels that share a word share a shelf, and distance() tells
/// them apart.
std::uint64_t shelf_key(const Problem& p) {
  std::uint64_t key = 0;
  visit_traits(traits_of(p), [&key](const char*, const auto& trait) {
    key = (key ^ static_cast<std::uint32_t>(trait)) * 0xD6E8FEB86659FD93u;
    key ^= key >> 32;
  });
  return key;
}

double log2_of(double size) { return std::log2(std::max(size, 1.0)); }

}  // namespace

/// The square of what distance() is at least: a fraction of its price, and enough to pass over most rows.
double RowIndex::least_square(const Entry& a, const Entry& b) {
  const double kv = a.log2_seq_kv - b.log2_seq_kv, q = a.log2_seq_q - b.log2_seq_q, heads = a.log2_heads - b.log2_heads;
  return kv * kv + q * q + heads * heads;
}

RowIndex::Entry RowIndex::entry_of(const Problem& bucket) {
  return {-1, 0, log2_of(bucket.seq_kv), log2_of(bucket.seq_q), log2_of(1.0 * bucket.batch * bucket.heads)};
}

int RowIndex::standing_of(const Best& row, const DeviceKey& device, const std::string& driver) {
  if (row.device.arch != device.arch) return kStandings;
  if (row.grade == Grade::kModelled) return kModelled;
  if (row.grade != Grade::kMeasured) return kStandings;
  if (!(row.device == device)) return kOtherDevice;
  return row.driver == driver ? kHere : kHereOtherDriver;
}

RowIndex::RowIndex(const std::vector<Best>& rows, const DeviceKey& device, const std::string& driver,
                   const ArchLimits& limits)
    : rows_(rows), limits_(limits) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    buckets_.push_back(bucket_of(rows[i].problem));
    const int standing = standing_of(rows[i], device, driver);
    if (standing == kStandings || fault_of(rows[i].problem) != ProblemFault::kNone) continue;
    measured_here_ |= standing == kHere || standing == kHereOtherDriver;
    Entry entry = entry_of(buckets_[i]);
    entry.row = static_cast<int>(i);
    entry.sm_gap = std::abs(rows[i].device.sm_count - device.sm_count);
    shelves_[shelf_key(buckets_[i])][static_cast<std::size_t>(standing)].push_back(entry);
  }
  for (auto& [key, shelves] : shelves_)
    for (Shelf& shelf : shelves)
      std::sort(shelf.begin(), shelf.end(),
                [](const Entry& a, const Entry& b) { return a.log2_seq_kv < b.log2_seq_kv; });
}

Found RowIndex::nearest(const Shelf& shelf, const Problem& bucket, bool own_bucket, bool other_buckets) const {
  constexpr double kRounding = 1e-9;  // of the coordinates, which distance() computes in another order
  const Entry asked = entry_of(bucket);
  const Problem judged = with_usual_strides(bucket);
  Found best;
  constexpr int kAny = std::numeric_limits<int>::max();
  auto rank = std::tuple(other_buckets ? std::numeric_limits<double>::infinity() : 0.0, kAny, kAny);
  const auto consider = [&](const Entry& e) {
    const double reach = std::get<0>(rank) + kRounding;
    if (least_square(e, asked) > reach * reach) return;
    const Problem& other = buckets_[static_cast<std::size_t>(e.row)];
    if (!(other == bucket ? own_bucket : other_buckets)) return;
    const auto apart = distance(bucket, other);
    if (!apart || std::tuple(*apart, e.sm_gap, e.row) >= rank) return;
    const Candidate& candidate = rows_[static_cast<std::size_t>(e.row)].candidate;
    if (rejection_of(candidate, judged, limits_) != Rejection::kNone || reads_keys_again(candidate, other, bucket)) {
      ++best.not_admitted;
      return;
    }
    rank = std::tuple(*apart, e.sm_gap, e.row);
    best.row = e.row, best.distance = *apart, best.own_bucket = other == bucket;
  };
  // From the asked length outwards, on both sides, until the lengths alone are farther apart than the best.
  const auto too_far = [&](const Entry& e) {
    return std::abs(e.log2_seq_kv - asked.log2_seq_kv) > std::get<0>(rank) + kRounding;
  };
  const auto middle = std::lower_bound(shelf.begin(), shelf.end(), asked.log2_seq_kv,
                                       [](const Entry& e, double length) { return e.log2_seq_kv < length; });
  auto up = middle, down = middle;
  while (true) {
    const bool more_up = up != shelf.end() && !too_far(*up);
    const bool more_down = down != shelf.begin() && !too_far(*(down - 1));
    if (!more_up && !more_down) return best;
    if (more_up) consider(*up++);
    if (more_down) consider(*--down);
  }
}

Survey RowIndex::survey(const Problem& bucket, double enough) const {
  struct Look {
    Grade grade;
    Standing standing;
    bool own_bucket, other_buckets;
  };
  constexpr Look kLooks[] = {
      {Grade::kMeasured, kHere, true, false},          {Grade::kStale, kHereOtherDriver, true, false},
      {Grade::kNearest, kHere, false, true},           {Grade::kStale, kHereOtherDriver, false, true},
      {Grade::kOtherDevice, kOtherDevice, true, true}, {Grade::kModelled, kModelled, true, true}};
  Survey survey;
  const auto shelves = shelves_.find(shelf_key(bucket));
  if (shelves == shelves_.end()) return survey;
  for (const Look& look : kLooks) {
    Found& found = survey[static_cast<std::size_t>(look.grade)];
    if (found.row >= 0) continue;
    const int passed_over = found.not_admitted;
    found = nearest(shelves->second[look.standing], bucket, look.own_bucket, look.other_buckets);
    found.not_admitted += passed_over;
    if (found.row >= 0 && found.distance <= enough) return survey;
  }
  return survey;
}

}  // namespace flashtune
