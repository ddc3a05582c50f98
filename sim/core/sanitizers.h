// What the sanitizers must be told: which fiber runs, and which accesses and barriers are the kernel's. All of it is
// nothing in a plain build. The core itself is compiled without ThreadSanitizer, so that its bookkeeping is silent.
#pragma once

#include <cstddef>

#if defined(FLASHTUNE_SIM_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(FLASHTUNE_SIM_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_read_range(void* address, unsigned long bytes);
extern "C" void __tsan_write_range(void* address, unsigned long bytes);
#endif

namespace flashtune::sim {

#if defined(FLASHTUNE_SIM_TSAN)
inline void kernel_reads(const void* p, std::size_t bytes) { __tsan_read_range(const_cast<void*>(p), bytes); }
inline void kernel_writes(void* p, std::size_t bytes) { __tsan_write_range(p, bytes); }
/// What happened before release(object) is visible after an acquire(object) that comes later.
inline void release(void* object) { __tsan_release(object); }
inline void acquire(void* object) { __tsan_acquire(object); }
#else
inline void kernel_reads(const void*, std::size_t) {}
inline void kernel_writes(void*, std::size_t) {}
inline void release(void*) {}
inline void acquire(void*) {}
#endif

}  // namespace flashtune::sim
