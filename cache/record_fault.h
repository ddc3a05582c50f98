// What a record must be, in one place: who reads rows, imports, merges, checks or stores asks here, so that all of them
// take exactly the same records.
#pragma once

#include <optional>
#include <string>

#include "cache/records.h"

namespace flashtune {

constexpr int kMostAttempts = 1 << 30;

/// The first thing wrong with a record.
struct RecordFault {
  std::string field;  // as export files name it: "timing.median_us"; "" where it is of the whole record
  std::string why;    // for people, with the value
};

/// "timing.median_us: -3 is not a time".
std::string text_of(const RecordFault& fault);

std::optional<RecordFault> fault_of(const Trial& trial);
std::optional<RecordFault> fault_of(const Best& best);

}  // namespace flashtune
