// Counts every allocation of the executable that includes this, which one file of it may.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

namespace flashtune {
inline std::atomic<long> allocations{0};
}  // namespace flashtune

// Not inlined: g++ would take malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  flashtune::allocations.fetch_add(1, std::memory_order_relaxed);
  void* ptr = std::malloc(bytes);
  if (ptr == nullptr) throw std::bad_alloc();
  return ptr;
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  flashtune::allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes);
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  flashtune::allocations.fetch_add(1, std::memory_order_relaxed);
  const auto unit = static_cast<std::size_t>(alignment);
  void* ptr = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
  if (ptr == nullptr) throw std::bad_alloc();
  return ptr;
}
[[gnu::noinline]] void operator delete(void* ptr) noexcept { std::free(ptr); }
[[gnu::noinline]] void operator delete(void* ptr, std::size_t) noexcept { std::free(ptr); }
[[gnu::noinline]] void operator delete(void* ptr, const std::nothrow_t&) noexcept { std::free(ptr); }
[[gnu::noinline]] void operator delete(void* ptr, std::align_val_t) noexcept { std::free(ptr); }
[[gnu::noinline]] void operator delete(void* ptr, std::size_t, std::align_val_t) noexcept { std::free(ptr); }
