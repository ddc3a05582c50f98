// The time that a whole sweep may take, shared evenly by the problems that are left.
#pragma once

#include <chrono>
#include <optional>

namespace flashtune {

class Budget {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Budget(const std::optional<std::chrono::duration<double>>& length) {
    if (length) end_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(*length);
  }

  /// When the next of `problems_left` problems must end; what it leaves goes to the others. Nothing without a budget.
  std::optional<Clock::time_point> share_of(std::size_t problems_left) const {
    if (!end_) return std::nullopt;
    const auto now = Clock::now();
    return now + (*end_ - now) / static_cast<long>(problems_left);
  }

 private:
  std::optional<Clock::time_point> end_;
};

}  // namespace flashtune
