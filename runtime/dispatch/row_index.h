// The rows of a tuning database that may answer on one device, arranged so that the nearest to a problem is found among
// thousands in microseconds.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// The best row of one grade for a problem, if there is one.
struct Found {
  int row = -1;  // index into the rows, -1 for none
  bool own_bucket = false;
  double distance = 0;   // 0 of the own bucket, but also of another one with as much work, such as half the batch with
                         // twice the heads
  int not_admitted = 0;  // rows that would have been taken, but for their config
};

/// By Grade, without kDefault.
using Survey = std::array<Found, static_cast<std::size_t>(Grade::kDefault)>;

class RowIndex {
 public:
  /// Keeps a reference to `rows`. Rows of other architectures are left out.
  RowIndex(const std::vector<Best>& rows, const DeviceKey& device, const std::string& driver, const ArchLimits& limits);

  /// What each grade has for `bucket`. Grades are looked through in their order, no further than the first that has a
  /// row within `enough`.
  Survey survey(const Problem& bucket, double enough) const;

  /// Whether any row was measured on this device, under whichever driver.
  bool measured_here() const { return measured_here_; }

 private:
  /// How a row relates to the device that asks.
  enum Standing { kHere = 0, kHereOtherDriver, kOtherDevice, kModelled, kStandings };

  /// Small, because a search reads thousands.
  struct Entry {
    int row;
    int sm_gap;                                  // difference in SMs between its device and this one
    double log2_seq_kv, log2_seq_q, log2_heads;  // three of the coordinates that distance() is made of
  };
  /// Rows of one standing that one kernel could serve alike, by rising log2_seq_kv.
  using Shelf = std::vector<Entry>;

  static Entry entry_of(const Problem& bucket);
  static double least_square(const Entry& a, const Entry& b);
  static int standing_of(const Best& row, const DeviceKey& device, const std::string& driver);
  Found nearest(const Shelf& shelf, const Problem& bucket, bool own_bucket, bool other_buckets) const;

  const std::vector<Best>& rows_;
  std::vector<Problem> buckets_;  // of each row
  ArchLimits limits_;
  bool measured_here_ = false;
  std::map<std::uint64_t, std::array<Shelf, kStandings>> shelves_;  // by what a kernel is compiled for
};

}  // namespace flashtune
