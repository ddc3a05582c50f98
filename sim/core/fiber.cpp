// Fibers on Boost.Context's bare switch: the class on top of it would unwind abandoned fibers by an exception.
#include "sim/core/fiber.h"

#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <new>
#include <utility>

#include "sim/core/sanitizers.h"

namespace flashtune::sim {

namespace context = boost::context::detail;

namespace {

constexpr std::size_t kPage = 4096;
#if defined(FLASHTUNE_SIM_ASAN) || defined(FLASHTUNE_SIM_TSAN)
constexpr std::size_t kStackBytes = 256 * 1024;  // instrumented frames are several times larger
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif
// All fibers of a block stand at the same depth. Were their stacks whole pages apart, a few cache sets would have to
// hold all of their frames.
constexpr std::size_t kStaggers = 16;
constexpr std::size_t kStagger = 5 * 64;
constexpr std::size_t kMappingBytes = kPage + kStackBytes + 2 * kPage;  // a guard page below, the stagger above
static_assert(kStagger * kStaggers <= 2 * kPage);

}  // namespace

/// The first frame of every fiber.
struct FiberEntry {
  [[noreturn]] static void run(context::transfer_t from) {
    auto& origin = *static_cast<Fiber*>(from.data);
    Fiber& self = *origin.going_to_;
    self.arrived(origin, from.fctx);
    self.entry_();
    __builtin_unreachable();
  }
};

Fiber::Fiber() {
#if defined(FLASHTUNE_SIM_TSAN)
  tsan_ = __tsan_get_current_fiber();
#endif
}

Fiber::Fiber(std::size_t index) {
  void* mapping =
      mmap(nullptr, kMappingBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<char*>(mapping);
  mprotect(mapping_, kPage, PROT_NONE);  // an overflow stops here instead of in the next fiber
  stack_ = mapping_ + kPage + index % kStaggers * kStagger;
  stack_bytes_ = kStackBytes;
#if defined(FLASHTUNE_SIM_TSAN)
  tsan_ = __tsan_create_fiber(0);
#endif
}

Fiber::Fiber(Fiber&& other) noexcept { swap(other); }
Fiber& Fiber::operator=(Fiber&& other) noexcept {
  swap(other);
  return *this;
}

void Fiber::swap(Fiber& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(going_to_, other.going_to_);
  std::swap(stack_, other.stack_);
  std::swap(stack_bytes_, other.stack_bytes_);
  std::swap(mapping_, other.mapping_);
  std::swap(entry_, other.entry_);
  std::swap(fake_stack_, other.fake_stack_);
  std::swap(tsan_, other.tsan_);
}

Fiber::~Fiber() {
  if (mapping_ == nullptr) return;
#if defined(FLASHTUNE_SIM_TSAN)
  __tsan_destroy_fiber(tsan_);
#endif
#if defined(FLASHTUNE_SIM_ASAN)
  ASAN_UNPOISON_MEMORY_REGION(stack_, stack_bytes_);
#endif
  munmap(mapping_, kMappingBytes);
}

void Fiber::start(void (*entry)()) {
  entry_ = entry;
  fake_stack_ = nullptr;
#if defined(FLASHTUNE_SIM_ASAN)
  ASAN_UNPOISON_MEMORY_REGION(stack_, stack_bytes_);  // what frames that were abandoned have left
#endif
  context_ = context::make_fcontext(stack_ + stack_bytes_, stack_bytes_, FiberEntry::run);
}

void Fiber::switch_to(Fiber& to, [[maybe_unused]] bool for_ever) {
#if defined(FLASHTUNE_SIM_ASAN)
  __sanitizer_start_switch_fiber(for_ever ? nullptr : &fake_stack_, to.stack_, to.stack_bytes_);
#endif
#if defined(FLASHTUNE_SIM_TSAN)
  __tsan_switch_to_fiber(to.tsan_, __tsan_switch_to_fiber_no_sync);
#endif
  going_to_ = &to;
  const context::transfer_t from = context::jump_fcontext(to.context_, this);
  arrived(*static_cast<Fiber*>(from.data), from.fctx);
}

void Fiber::release_for_good([[maybe_unused]] void* object) {
#if defined(FLASHTUNE_SIM_TSAN)
  void* self = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_, __tsan_switch_to_fiber_no_sync);
  release(object);
  __tsan_switch_to_fiber(self, __tsan_switch_to_fiber_no_sync);
#endif
}

void Fiber::arrived(Fiber& from, void* its_context) {
  from.context_ = its_context;
#if defined(FLASHTUNE_SIM_ASAN)
  const void* stack = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack_, &stack, &bytes);
  if (from.mapping_ == nullptr) from.stack_ = static_cast<char*>(const_cast<void*>(stack)), from.stack_bytes_ = bytes;
#endif
}

std::vector<Fiber> FiberPool::take(std::size_t count) {
  std::vector<Fiber> taken;
  taken.reserve(count);
  const std::lock_guard lock(mutex_);
  for (; !resting_.empty() && taken.size() < count; resting_.pop_back()) taken.push_back(std::move(resting_.back()));
  while (taken.size() < count) taken.emplace_back(taken.size());
  return taken;
}

void FiberPool::give_back(std::vector<Fiber>&& fibers) {
  const std::lock_guard lock(mutex_);
  for (Fiber& fiber : fibers) resting_.push_back(std::move(fiber));
}

}  // namespace flashtune::sim
