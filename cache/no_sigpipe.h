// A write to a pipe that nobody reads is an error (EPIPE), not a signal that ends the process.
#pragma once

#include <csignal>

namespace flashtune {

/// While it lives, this thread's writes to broken pipes and sockets fail with EPIPE, whatever the program does with
/// SIGPIPE: a library may not change that for its host.
class NoSigpipe {
 public:
  NoSigpipe() noexcept {
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  /// Takes back the signals that came since: they would be delivered as soon as they are let through.
  ~NoSigpipe() {
    const timespec at_once{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  bool was_pending_ = false;
  sigset_t pipe_{}, before_{};
};

}  // namespace flashtune
