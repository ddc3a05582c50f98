// The watchdog's thread, and the device that arms it.
#include "tuner/time/launch_guard.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace flashtune {

struct Watchdog::Impl {
  using Clock = std::chrono::steady_clock;
  std::function<void()> late;
  std::mutex mutex;  // held while `late` runs, so that disarm() cannot overtake it
  std::condition_variable changed;
  bool armed = false, ending = false;
  Clock::time_point deadline;
  std::thread thread;

  void run() {
    std::unique_lock lock(mutex);
    while (!ending) {
      if (!armed) {
        changed.wait(lock);
      } else if (Clock::now() >= deadline) {
        late();
        return;
      } else {
        changed.wait_until(lock, deadline);
      }
    }
  }
};

Watchdog::Watchdog(std::function<void()> late) : impl_(std::make_unique<Impl>()) {
  impl_->late = std::move(late);
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->ending = true;
  }
  impl_->changed.notify_all();
  impl_->thread.join();
}

void Watchdog::arm(double limit_s) {
  const std::lock_guard lock(impl_->mutex);
  impl_->deadline =
      Impl::Clock::now() + std::chrono::duration_cast<Impl::Clock::duration>(std::chrono::duration<double>(limit_s));
  impl_->armed = true;
  impl_->changed.notify_all();
}

void Watchdog::disarm() {
  // No notification: the thread wakes at the old deadline at the latest, and finds nothing armed.
  const std::lock_guard lock(impl_->mutex);
  impl_->armed = false;
}

GuardedDevice::GuardedDevice(Device& device, double limit_s, std::function<void()> late)
    : device_(device), limit_s_(limit_s), dog_(std::move(late)) {}

DevicePtr GuardedDevice::allocate(std::size_t bytes) {
  return watched(1, [&] { return device_.allocate(bytes); });
}
void GuardedDevice::free(DevicePtr ptr) noexcept {
  watched(1, [&] { device_.free(ptr); });
}
void GuardedDevice::copy_in(DevicePtr to, const void* from, std::size_t bytes) {
  watched(1, [&] { device_.copy_in(to, from, bytes); });
}
void GuardedDevice::copy_out(void* to, DevicePtr from, std::size_t bytes) {
  watched(1, [&] { device_.copy_out(to, from, bytes); });
}
void GuardedDevice::copy_within(DevicePtr to, DevicePtr from, std::size_t bytes) {
  watched(1, [&] { device_.copy_within(to, from, bytes); });
}
void GuardedDevice::fill(DevicePtr to, std::uint32_t pattern, std::size_t bytes) {
  watched(1, [&] { device_.fill(to, pattern, bytes); });
}
std::unique_ptr<LoadedKernel> GuardedDevice::load(const std::string& cubin, const std::string& entry,
                                                  unsigned smem_bytes) {
  return watched(1, [&] { return device_.load(cubin, entry, smem_bytes); });
}
void GuardedDevice::launch(const LoadedKernel& kernel, const Launch& launch) {
  watched(1, [&] { device_.launch(kernel, launch); });
}
void GuardedDevice::synchronize() {
  watched(1, [&] { device_.synchronize(); });
}
std::vector<double> GuardedDevice::time_each(const std::vector<std::function<void(Stream)>>& bodies) {
  return watched(static_cast<double>(bodies.size()), [&] { return device_.time_each(bodies); });
}
std::unique_ptr<Device::Graph> GuardedDevice::capture(const std::function<void(Stream)>& body) {
  return watched(1, [&] { return device_.capture(body); });
}
double GuardedDevice::time_replay(Graph& graph) {
  return watched(1, [&] { return device_.time_replay(graph); });
}

}  // namespace flashtune
