// Workers take blocks in order.
#include "sim/core/launch.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "cache/error.h"

namespace flashtune::sim {
namespace {

class Workers {
 public:
  Workers(const LaunchContext& context, unsigned blocks) : context_(context), blocks_(blocks) {}

  void work() noexcept {
    try {
      Block block(context_);
      for (unsigned i; (i = next_.fetch_add(1)) < blocks_;)
        if (const auto failure = block.run(i)) note(i, *failure);
      const std::lock_guard lock(mutex_);
      counters_ += block.counters();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      exception_ = std::current_exception();
    }
  }

  Counters result() const {
    if (exception_) std::rethrow_exception(exception_);
    if (!failure_.empty()) throw Error(ErrorKind::kDevice, failure_);
    return counters_;
  }

 private:
  /// Keeps the failure of the first block, and lets no further one begin.
  void note(unsigned block, const std::string& failure) {
    const std::lock_guard lock(mutex_);
    next_ = blocks_;
    if (failure_.empty() || block < failed_block_) failure_ = failure, failed_block_ = block;
  }

  const LaunchContext& context_;
  const unsigned blocks_;
  std::atomic<unsigned> next_{0};
  std::mutex mutex_;
  Counters counters_;
  std::string failure_;
  unsigned failed_block_ = 0;
  std::exception_ptr exception_;
};

}  // namespace

Counters run_blocks(const LaunchContext& context, unsigned blocks) {
  unsigned threads = static_cast<unsigned>(std::max(context.options.threads, 0));
  if (threads == 0) threads = std::max(std::thread::hardware_concurrency(), 1u);
  threads = std::min(threads, blocks);
  Workers workers(context, blocks);
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back([&] { workers.work(); });
  workers.work();
  for (std::thread& other : others) other.join();
  return workers.result();
}

}  // namespace flashtune::sim
