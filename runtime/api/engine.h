// What a deployed process uses: opens a device, knows the tuned answers, prepares kernels, launches. The C API and
// `flashtune run` are thin over it. Thread-safe but for construction and destruction.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/skipped_rows.h"
#include "runtime/device/device.h"
#include "runtime/dispatch/dispatcher.h"
#include "runtime/jit/kernel_compiler.h"
#include "runtime/launch/tensors.h"

namespace flashtune {

struct EngineOptions {
  std::optional<std::filesystem::path> database;  // the user's; absent or missing file: defaults only
  std::optional<std::filesystem::path> shipped_database;
  KernelCompiler::Options compiler;
  std::function<void(const std::string&)>
      warn;  // one line, once, when a GPU is untuned, naming the command that fixes it
  /// One line for each database that has rows which are damaged or of a newer flashtune. Left out: `warn` gets it.
  std::function<void(const std::string&)> warn_of_rows;
  /// > 0: of decode, so many keys (rounded up to a kernel's tile) for each split, whatever the batch, and one kernel
  /// for all batches and lengths: a sequence's result does not depend on its batch mates, bit for bit.
  int pinned_chunk = 0;
  /// Each decode and append waits for its end and throws Error(kInvalidArgument) that names the sequences whose length
  /// or pages are wrong. Not during a capture.
  bool debug_checks = false;
  /// Instead of `compiler`: for a device that takes other kernels than a GPU's, and for tests.
  std::function<Compiled(const KernelSpec&)> compile;
};

class EngineImpl {
 public:
  EngineImpl(std::unique_ptr<Device> device, EngineOptions options);
  ~EngineImpl();

  Device& device();
  const Dispatcher& dispatcher() const;
  const ArchLimits& limits() const;
  /// Rows of the databases that were passed over when the engine was made.
  SkippedRows skipped_rows() const;
  /// What forward() takes: the dispatcher's decision, pinned where the options say so. And what append() takes.
  Decision decide(const Problem& problem) const;
  /// How it came to that; not for the hot path.
  std::vector<Consideration> explain(const Problem& problem) const;

  /// Compiles or finds, loads and forces the kernels of these problems' decisions; afterwards forward() on problems of
  /// the same buckets does nothing that is illegal during stream capture. One problem that is not supported refuses
  /// them all. What was judged of a problem is kept for its next calls; the last 512 problems or so are.
  void prepare(const std::vector<Problem>& problems);

  /// Bytes of scratch memory that forward() needs. It must be zero before its first use; every forward() leaves it fit
  /// for the next one on the same stream, of whichever problem it is large enough for.
  std::size_t workspace_bytes(const Problem& problem) const;

  /// Launches on `stream`. Not prepared: compiles and loads first, unless the stream is capturing: then the best loaded
  /// kernel that computes the problem runs, or Error(kInvalidArgument) says what to prepare. Checks pointers (16-byte
  /// alignment) and strides before anything is launched. Prepared, or called before with this problem, it takes no lock
  /// and allocates nothing. A problem that is new, of a prepared bucket, is judged first, in microseconds. Returns what
  /// ran.
  Decision forward(const Problem& problem, const Tensors& tensors, DevicePtr workspace, Stream stream);
  /// Writes the new K and V rows of the decode that follows into its cache, with the rotary embedding that `tensors`
  /// ask for. `problem` is that decode's (its op may be kDecode or kAppend); the workspace may be, too. Prepared (with
  /// op kAppend), it takes no lock and allocates nothing, and may be captured; during a capture that finds it
  /// unprepared it throws Error(kInvalidArgument).
  void append(const Problem& problem, const AppendTensors& tensors, DevicePtr workspace, Stream stream);

  /// forward() with a given candidate instead of the dispatcher's.
  void forward_with(const Candidate& candidate, const Problem& problem, const Tensors& tensors, DevicePtr workspace,
                    Stream stream);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashtune
