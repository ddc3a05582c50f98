// Runs work in a child process and starts it again when it dies: a kernel that hangs or corrupts the GPU's context
// takes its process with it, not the sweep.
#pragma once

#include <atomic>
#include <functional>
#include <string>

namespace flashtune {

/// Memory that the parent and all its children share. The work counts here what must not be done twice.
struct SharedProgress {
  std::atomic<int> problems_done{0};
  std::atomic<long> trials_done{0};
  std::atomic<int> starts{0};  // children begun, this one included
};

struct Supervision {
  std::function<int(SharedProgress&)> work;        // in the child; its exit code
  std::function<void(const std::string&)> remark;  // in the parent: one line for people
  int restart_code = 75;                           // the child asks for another with this exit code
  int restarts_without_progress = 2;               // then it is given up
};

/// Forks (so call it before any thread or CUDA call), waits, restarts. A child that dies by a signal, or exits with
/// restart_code, is replaced while trials_done moves; asking for a restart counts as progress, for its outcome was
/// stored. SIGINT, SIGTERM and SIGHUP are passed on to the child and end the work; a second one kills it. The child
/// dies with its parent. Returns the last child's exit code, or 1 when it was given up or stopped.
int supervise(const Supervision& supervision);

/// Whether a stop was asked for by signal. Set up by watch_for_stop(), in the process that works.
void watch_for_stop();
bool stop_requested();

}  // namespace flashtune
