// The pool: one queue in order of submission, plain threads, and a condition variable for whoever waits.
#include "tuner/sweep/compile_pool.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/error.h"

namespace flashtune {
namespace {

enum class Stage { kQueued, kRunning, kDone, kCancelled };

struct Job {
  CompileJob compile;  // nothing once it ran: a source is no longer needed then
  Stage stage = Stage::kQueued;
  bool reported = false;  // wait() or wait_any() has returned it
  Compiled compiled;
  std::exception_ptr failure;
};

}  // namespace

struct CompilePool::Impl {
  mutable std::mutex mutex;
  std::condition_variable work;      // a job was queued, or the pool ends
  std::condition_variable finished;  // a job is done, or was cancelled
  std::deque<Job> jobs;              // by ticket; a deque, so that a Job never moves
  std::size_t next = 0;              // the first ticket that no worker has taken
  bool ending = false;
  std::vector<std::thread> workers;

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      work.wait(lock, [&] { return ending || next < jobs.size(); });
      if (ending) return;
      Job& job = jobs[next++];
      if (job.stage != Stage::kQueued) continue;
      job.stage = Stage::kRunning;
      CompileJob compile = std::move(job.compile);
      lock.unlock();
      Compiled compiled;
      std::exception_ptr failure;
      try {
        compiled = compile();
      } catch (...) {
        failure = std::current_exception();
      }
      compile = nullptr;
      lock.lock();
      job.compiled = std::move(compiled);
      job.failure = failure;
      job.stage = Stage::kDone;
      finished.notify_all();
    }
  }

  Job& job_of(int ticket) {
    if (ticket < 0 || static_cast<std::size_t>(ticket) >= jobs.size())
      throw Error(ErrorKind::kInternal, "compile pool: there is no ticket " + std::to_string(ticket));
    return jobs[static_cast<std::size_t>(ticket)];
  }

  void drop_queued() {
    for (; next < jobs.size(); ++next) jobs[next].stage = Stage::kCancelled;
    finished.notify_all();
  }
};

CompilePool::CompilePool(int threads) : impl_(std::make_unique<Impl>()) {
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const unsigned count = threads > 0 ? static_cast<unsigned>(threads) : cores;
  for (unsigned i = 0; i < count; ++i) impl_->workers.emplace_back([impl = impl_.get()] { impl->run(); });
}

CompilePool::~CompilePool() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->drop_queued();
    impl_->ending = true;
  }
  impl_->work.notify_all();
  for (std::thread& worker : impl_->workers) worker.join();
}

int CompilePool::submit(CompileJob job) {
  const std::lock_guard lock(impl_->mutex);
  impl_->jobs.emplace_back().compile = std::move(job);
  impl_->work.notify_one();
  return static_cast<int>(impl_->jobs.size()) - 1;
}

const Compiled& CompilePool::wait(int ticket) {
  std::unique_lock lock(impl_->mutex);
  Job& job = impl_->job_of(ticket);
  impl_->finished.wait(lock, [&] { return job.stage == Stage::kDone || job.stage == Stage::kCancelled; });
  job.reported = true;
  if (job.stage == Stage::kCancelled)
    throw Error(ErrorKind::kInternal, "compile pool: ticket " + std::to_string(ticket) + " was cancelled");
  if (job.failure != nullptr) std::rethrow_exception(job.failure);
  return job.compiled;
}

bool CompilePool::ready(int ticket) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->job_of(ticket).stage == Stage::kDone;
}

int CompilePool::wait_any() {
  std::unique_lock lock(impl_->mutex);
  while (true) {
    bool pending = false;
    for (std::size_t i = 0; i < impl_->jobs.size(); ++i) {
      Job& job = impl_->jobs[i];
      if (job.reported || job.stage == Stage::kCancelled) continue;
      if (job.stage == Stage::kDone) {
        job.reported = true;
        return static_cast<int>(i);
      }
      pending = true;
    }
    if (!pending) return -1;
    impl_->finished.wait(lock);
  }
}

void CompilePool::release(int ticket) {
  const std::lock_guard lock(impl_->mutex);
  Job& job = impl_->job_of(ticket);
  if (job.stage == Stage::kDone) job.compiled.cubin = std::string();
}

void CompilePool::cancel() {
  const std::lock_guard lock(impl_->mutex);
  impl_->drop_queued();
}

}  // namespace flashtune
