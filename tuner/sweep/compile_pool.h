// Compiles on all cores ahead of the GPU: results come out in the order asked for, or as they get ready.
#pragma once

#include <functional>
#include <memory>

#include "runtime/jit/kernel_compiler.h"

namespace flashtune {

/// One compile, called from one of many threads: of a source that is written already, or of a spec by whichever
/// compiler.
using CompileJob = std::function<Compiled()>;

class CompilePool {
 public:
  /// threads 0: one per core.
  explicit CompilePool(int threads);
  ~CompilePool();  // drops what has not started, waits for what has

  /// Queues a compile; returns its ticket: 0, 1, ... Compiles start in this order; a later ticket may finish earlier.
  int submit(CompileJob job);
  /// Blocks until that ticket is done. The exception of a failed compile call (NVRTC is missing, ...) comes out here;
  /// so does Error(kInternal) for a ticket that was cancelled. The reference lives as long as the pool.
  const Compiled& wait(int ticket);
  bool ready(int ticket) const;
  /// Blocks until some ticket that neither wait() nor wait_any() has returned is done, and returns it; -1 when none is
  /// left.
  int wait_any();
  /// Frees the cubin of a ticket that is no longer needed.
  void release(int ticket);
  /// Forgets what has not started.
  void cancel();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashtune
