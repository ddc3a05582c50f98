// Workers take clusters in order, most of which are one block.
#include "sim/core/launch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "cache/error.h"
#include "sim/core/cluster.h"
#include "sim/late_launch.h"

namespace flashtune::sim {
namespace {

// Each fiber is two mappings, of which Linux gives a process 65530; ThreadSanitizer knows 8192 threads.
#if defined(FLASHTUNE_SIM_TSAN)
constexpr unsigned kMaxFibers = 4 * 1024;
#else
constexpr unsigned kMaxFibers = 24 * 1024;
#endif

/// Tells the threads of a launch when its time is over, unless it ends before.
class Alarm {
 public:
  explicit Alarm(const LaunchContext& context) {
    if (const double limit_s = context.options.limit_s; limit_s > 0)
      thread_ = std::thread([this, limit_s, &late = context.late] {
        std::unique_lock lock(mutex_);
        if (!ended_.wait_for(lock, std::chrono::duration<double>(limit_s), [this] { return over_; })) late = true;
      });
  }
  ~Alarm() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;  // the launch
  std::thread thread_;
};

class Workers {
 public:
  Workers(const LaunchContext& context, unsigned blocks) : context_(context), blocks_(blocks) {}

  void work() noexcept {
    try {
      Cluster cluster(context_);
      for (unsigned i; (i = next_.fetch_add(cluster.size())) < blocks_;)
        if (const auto failure = cluster.run(i)) note(i, *failure);
      const std::lock_guard lock(mutex_);
      counters_ += cluster.counters();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      exception_ = std::current_exception();
    }
  }

  Counters result() const {
    if (exception_) std::rethrow_exception(exception_);
    if (!failure_.empty() && context_.late) throw LateLaunch(failure_);
    if (!failure_.empty()) throw Error(ErrorKind::kDevice, failure_);
    return counters_;
  }

 private:
  /// Keeps the failure of the first cluster, and lets no further one begin.
  void note(unsigned first, const std::string& failure) {
    const std::lock_guard lock(mutex_);
    next_ = blocks_;
    if (failure_.empty() || first < failed_) failure_ = failure, failed_ = first;
  }

  const LaunchContext& context_;
  const unsigned blocks_;
  std::atomic<unsigned> next_{0};
  std::mutex mutex_;
  Counters counters_;
  std::string failure_;
  unsigned failed_ = 0;
  std::exception_ptr exception_;
};

}  // namespace

Counters run_blocks(const LaunchContext& context, unsigned blocks) {
  unsigned threads = static_cast<unsigned>(std::max(context.options.threads, 0));
  if (threads == 0) threads = std::max(std::thread::hardware_concurrency(), 1u);
  threads = std::min(threads, blocks / context.cluster);
  threads = std::min(threads, std::max(kMaxFibers / (context.threads * context.cluster), 1u));
  const Alarm alarm(context);
  Workers workers(context, blocks);
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back([&] { workers.work(); });
  workers.work();
  for (std::thread& other : others) other.join();
  return workers.result();
}

}  // namespace flashtune::sim
