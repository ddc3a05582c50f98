// Compiles candidates on all cores ahead of the GPU: results come out in the order asked for, or as they get ready.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "runtime/jit/kernel_compiler.h"

namespace flashtune {

class CompilePool {
 public:
  /// threads 0: one per core.
  CompilePool(const KernelCompiler& compiler, int threads);
  ~CompilePool();  // drops what has not started, waits for what has

  /// Queues a compile; returns its ticket. A later ticket may finish earlier.
  int submit(const KernelSpec& spec);
  /// Blocks until that ticket is done. The exception of a failed NVRTC load comes out here.
  const Compiled& wait(int ticket);
  bool ready(int ticket) const;
  /// Blocks until some unreported ticket is done and returns it; -1 when none is left.
  int wait_any();
  /// Forgets what has not started.
  void cancel();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashtune
