// One fiber per CUDA thread, and the switch between two of them.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace flashtune::sim {

/// A stack and what was saved when its fiber last left it. A default-constructed one stands for the OS thread's own
/// stack. Fibers are abandoned, not unwound: kernels own nothing that a destructor would have to free.
class Fiber {
 public:
  Fiber();
  explicit Fiber(std::size_t index);  // with a stack of its own
  ~Fiber();
  Fiber(Fiber&& other) noexcept;
  Fiber& operator=(Fiber&& other) noexcept;

  /// The next switch to this fiber calls `entry`, which must never return.
  void start(void (*entry)());

  /// Leaves this fiber, which is running, for `to`; comes back when another switches here. `for_ever`: it does not.
  void switch_to(Fiber& to, bool for_ever = false);

  /// What this fiber has done so far becomes visible to whoever acquires `object`, though it never runs again.
  void release_for_good(void* object);

 private:
  void swap(Fiber& other) noexcept;
  void arrived(Fiber& from, void* its_context);  // on `this`, after a switch

  void* context_ = nullptr;  // where to go on
  Fiber* going_to_ = nullptr;
  char* stack_ = nullptr;  // lowest usable byte
  std::size_t stack_bytes_ = 0;
  char* mapping_ = nullptr;
  void (*entry_)() = nullptr;
  void* fake_stack_ = nullptr;  // AddressSanitizer's
  void* tsan_ = nullptr;        // ThreadSanitizer's idea of this thread
  friend struct FiberEntry;
};

/// Fibers at rest. Stacks are made once and used by launch after launch. Thread-safe.
class FiberPool {
 public:
  std::vector<Fiber> take(std::size_t count);
  void give_back(std::vector<Fiber>&& fibers);

 private:
  std::mutex mutex_;
  std::vector<Fiber> resting_;
};

}  // namespace flashtune::sim
