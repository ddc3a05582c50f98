// What the sanitizers must be told: which fiber runs, and which accesses and barriers are the kernel's. All of it is
// nothing in a plain build. The core itself is compiled without ThreadSanitizer, so that its bookkeeping is silent.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(FLASHTUNE_SIM_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(FLASHTUNE_SIM_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_read4(void* address);
extern "C" void __tsan_read8(void* address);
extern "C" void __tsan_read16(void* address);
extern "C" void __tsan_write4(void* address);
extern "C" void __tsan_write8(void* address);
extern "C" void __tsan_write16(void* address);
extern "C" void __tsan_read_range(void* address, unsigned long bytes);
extern "C" void __tsan_write_range(void* address, unsigned long bytes);
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

namespace flashtune::sim {

#if defined(FLASHTUNE_SIM_TSAN)
/// The bytes of an access that has an entry of its own, several times faster than that of ranges; else 0.
inline std::size_t bytes_at_once(const void* p, std::size_t bytes) {
  return bytes != 0 && reinterpret_cast<std::uintptr_t>(p) % bytes == 0 ? bytes : 0;
}
inline void kernel_reads(const void* p, std::size_t bytes) {
  void* from = const_cast<void*>(p);
  switch (bytes_at_once(p, bytes)) {
    case 4: return __tsan_read4(from);
    case 8: return __tsan_read8(from);
    case 16: return __tsan_read16(from);
    default: return __tsan_read_range(from, bytes);
  }
}
inline void kernel_writes(void* p, std::size_t bytes) {
  switch (bytes_at_once(p, bytes)) {
    case 4: return __tsan_write4(p);
    case 8: return __tsan_write8(p);
    case 16: return __tsan_write16(p);
    default: return __tsan_write_range(p, bytes);
  }
}
/// What happened before release(object) is visible after an acquire(object) that comes later.
inline void release(void* object) { __tsan_release(object); }
inline void acquire(void* object) { __tsan_acquire(object); }

/// While it lives, memory is touched unseen: memcpy and memset of more than a few bytes are seen even in the core.
struct Unseen {
  Unseen() { AnnotateIgnoreReadsBegin(nullptr, 0), AnnotateIgnoreWritesBegin(nullptr, 0); }
  ~Unseen() { AnnotateIgnoreWritesEnd(nullptr, 0), AnnotateIgnoreReadsEnd(nullptr, 0); }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

/// Copies and products, which run beside the threads: each is ordered by nothing but what it acquires and releases.
class Bystanders {
 public:
  Bystanders() {
    for (void*& context : contexts_) context = __tsan_create_fiber(0);
  }
  ~Bystanders() {
    for (void* context : contexts_) __tsan_destroy_fiber(context);
  }
  Bystanders(const Bystanders&) = delete;
  Bystanders& operator=(const Bystanders&) = delete;

  /// Whatever `work` reads and writes, the next of them does.
  template <class Work>
  void run(const Work& work) {
    as(contexts_[next_++ % kCount], work);
  }
  /// What they have done becomes visible to whoever acquires `object`.
  void release_for_good(void* object) {
    for (void* context : contexts_) as(context, [&] { release(object); });
  }

 private:
  template <class Work>
  static void as(void* context, const Work& work) {
    void* self = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(context, __tsan_switch_to_fiber_no_sync);
    work();
    __tsan_switch_to_fiber(self, __tsan_switch_to_fiber_no_sync);
  }
  static constexpr unsigned kCount = 8;  // those of one are ordered among each other, which hides some races
  void* contexts_[kCount];
  unsigned next_ = 0;
};
#else
inline void kernel_reads(const void*, std::size_t) {}
inline void kernel_writes(void*, std::size_t) {}
inline void release(void*) {}
inline void acquire(void*) {}
struct Unseen {
  Unseen() {}
  ~Unseen() {}
};
class Bystanders {
 public:
  template <class Work>
  void run(const Work& work) {
    work();
  }
  void release_for_good(void*) {}
};
#endif

}  // namespace flashtune::sim
