// Elements of any of the types, as a device holds them.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "runtime/device/dtype_bits.h"

namespace flashtune {

class Elements {
 public:
  Elements() = default;
  /// All of them NaN, so that what nobody writes shows.
  Elements(Dtype dtype, std::size_t count) : dtype_(dtype), bytes_(count * width(), kNan) {}

  std::size_t size() const { return bytes_.size() / width(); }
  std::size_t bytes() const { return bytes_.size(); }
  const char* data() const { return bytes_.data(); }
  char* data() { return bytes_.data(); }

  float operator[](std::size_t at) const { return element_at(data(), at, dtype_); }
  void set(std::size_t at, float value) { set_element(data(), at, value, dtype_); }
  /// `count` of them are those of `from`, which has the same type, from `first` on.
  void copy(std::size_t at, const Elements& from, std::size_t first, std::size_t count) {
    std::memcpy(data() + at * width(), from.data() + first * width(), count * width());
  }
  void make_nan(std::size_t at, std::size_t count) { std::memset(data() + at * width(), kNan, count * width()); }

  /// Bit for bit.
  bool operator==(const Elements&) const = default;

 private:
  static constexpr char kNan = '\xff';
  std::size_t width() const { return static_cast<std::size_t>(size_of(dtype_)); }

  Dtype dtype_ = Dtype::kBf16;
  std::vector<char> bytes_;
};

}  // namespace flashtune
