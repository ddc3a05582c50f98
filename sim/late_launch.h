// What a launch on the simulated device ends with when it ran past its limit.
#pragma once

#include "cache/error.h"

namespace flashtune {

/// SimOptions::limit_s is over; what() names a thread that still ran, and where.
class LateLaunch : public Error {
 public:
  explicit LateLaunch(const std::string& what) : Error(ErrorKind::kDevice, what) {}
};

}  // namespace flashtune
