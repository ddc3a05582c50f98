// Handles of the driver that clean up after themselves, and the context they live in. Internal to runtime/device.
#pragma once

#include <memory>
#include <utility>

#include "runtime/device/cuda_driver.h"

namespace flashtune {

/// A device's primary context, the one that PyTorch and the CUDA runtime work in too; kept alive by everything made in
/// it.
class CudaContext {
 public:
  CudaContext(std::shared_ptr<const CudaDriver> driver, CUdevice device) : driver_(std::move(driver)), device_(device) {
    driver_->check(driver_->primary_ctx_retain(&handle_, device_), "opening the GPU's primary context");
  }
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;
  ~CudaContext() { driver_->primary_ctx_release(device_); }

  const CudaDriver& driver() const { return *driver_; }
  CUcontext handle() const { return handle_; }

 private:
  std::shared_ptr<const CudaDriver> driver_;
  CUdevice device_;
  CUcontext handle_ = nullptr;
};

/// Makes a context current to this thread, unless it is, and restores what was. Does not throw, so that destructors can
/// use it: should it fail, the call it was made for says so.
class ContextScope {
 public:
  explicit ContextScope(const CudaContext& context) noexcept : driver_(context.driver()) {
    CUcontext current = nullptr;
    const bool is_current = driver_.ctx_get_current(&current) == CUDA_SUCCESS && current == context.handle();
    pushed_ = !is_current && driver_.ctx_push_current(context.handle()) == CUDA_SUCCESS;
  }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;
  ~ContextScope() {
    CUcontext popped = nullptr;
    if (pushed_) driver_.ctx_pop_current(&popped);
  }

 private:
  const CudaDriver& driver_;
  bool pushed_ = false;
};

/// A ContextScope in which this thread may load, allocate and free while another one captures a stream in the mode that
/// is everybody's default (PyTorch's too): else that would fail, and the capture with it. None of it touches the
/// captured stream.
class BesideCaptures {
 public:
  explicit BesideCaptures(const CudaContext& context) noexcept
      : scope_(context),
        driver_(context.driver()),
        exchanged_(driver_.thread_exchange_capture_mode(&mode_) == CUDA_SUCCESS) {}
  BesideCaptures(const BesideCaptures&) = delete;
  BesideCaptures& operator=(const BesideCaptures&) = delete;
  ~BesideCaptures() {
    if (exchanged_) driver_.thread_exchange_capture_mode(&mode_);
  }

 private:
  ContextScope scope_;
  const CudaDriver& driver_;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;  // then what it was before
  bool exchanged_;
};

/// A stream, event, module or graph: destroyed by `destroy` in its context. After a lost device that fails, which is
/// ignored.
template <class Handle>
class CudaHandle {
 public:
  using Destroy = CUresult (*)(Handle);
  CudaHandle(std::shared_ptr<const CudaContext> context, Handle handle, Destroy destroy)
      : context_(std::move(context)), handle_(handle), destroy_(destroy) {}
  CudaHandle(CudaHandle&& o) noexcept
      : context_(std::move(o.context_)), handle_(std::exchange(o.handle_, nullptr)), destroy_(o.destroy_) {}
  CudaHandle& operator=(CudaHandle&&) = delete;
  ~CudaHandle() {
    if (handle_ == nullptr) return;
    const BesideCaptures scope(*context_);
    destroy_(handle_);
  }
  Handle get() const { return handle_; }

 private:
  std::shared_ptr<const CudaContext> context_;
  Handle handle_;
  Destroy destroy_;
};

}  // namespace flashtune
