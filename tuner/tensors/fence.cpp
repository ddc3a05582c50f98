// Device memory between guard bands.
#include "tuner/tensors/fence.h"

#include <fmt/format.h>

#include <cstring>

namespace flashtune {
namespace {

constexpr std::uint32_t kGuard = 0xa5c33c5au;  // neither zero, nor NaN, nor poison

/// Bytes from the first changed word of a guard to its end, or to its last changed word; 0 when it is whole.
struct Damage {
  std::size_t first = 0, past_last = 0;
  bool any() const { return past_last != 0; }
};

Damage damage_of(const char* guard) {
  Damage damage;
  for (std::size_t at = 0; at < FencedBuffer::kGuardBytes; at += 4) {
    std::uint32_t word;
    std::memcpy(&word, guard + at, 4);
    if (word == kGuard) continue;
    if (!damage.any()) damage.first = at;
    damage.past_last = at + 4;
  }
  return damage;
}

}  // namespace

FencedBuffer::FencedBuffer(Device& device, std::size_t capacity)
    : device_(&device), buffer_(device, capacity + 2 * kGuardBytes) {}

void FencedBuffer::arm(std::size_t bytes) {
  bytes_ = bytes;
  device_->fill(buffer_.get(), kGuard, kGuardBytes);
  if (bytes > 0) device_->fill(get(), kPoison, bytes);
  device_->fill(get() + bytes, kGuard, kGuardBytes);
}

void FencedBuffer::upload(const void* from, std::size_t bytes) {
  bytes_ = bytes;
  device_->fill(buffer_.get(), kPoison, kGuardBytes);
  if (bytes > 0) device_->copy_in(get(), from, bytes);
  device_->fill(get() + bytes, kPoison, kGuardBytes);
}

void FencedBuffer::download(std::vector<char>& to) const {
  to.resize(bytes_ + 2 * kGuardBytes);
  device_->copy_out(to.data(), buffer_.get(), to.size());
}

std::string breach_of(const std::vector<char>& download, const std::string& what) {
  const Damage before = damage_of(download.data());
  if (before.any())
    return fmt::format("wrote before {}, from {} bytes ahead of its first", what,
                       FencedBuffer::kGuardBytes - before.first);
  const Damage after = damage_of(download.data() + download.size() - FencedBuffer::kGuardBytes);
  if (after.any()) return fmt::format("wrote past the end of {}, up to {} bytes beyond", what, after.past_last);
  return {};
}

}  // namespace flashtune
