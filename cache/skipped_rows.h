// How many rows of a database were passed over, because they are no records for this flashtune.
#pragma once

#include <string>

namespace flashtune {

struct SkippedRows {
  int damaged = 0;
  int newer = 0;  // hold words that this flashtune does not know
  int total() const { return damaged + newer; }
  bool any() const { return total() > 0; }
  SkippedRows& operator+=(const SkippedRows& other) {
    damaged += other.damaged, newer += other.newer;
    return *this;
  }
  bool operator==(const SkippedRows&) const = default;
};

/// "2 damaged, 1 of a newer flashtune".
std::string text_of(const SkippedRows& skipped);

/// "PATH: 3 rows were passed over (2 damaged, 1 of a newer flashtune); flashtune db check lists them".
std::string remark_on(const SkippedRows& skipped, const std::string& path);

}  // namespace flashtune
