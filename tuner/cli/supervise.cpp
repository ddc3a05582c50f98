// The parent of a sweep: fork, wait, restart.
#include "tuner/cli/supervise.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <memory>
#include <new>

#include "cache/error.h"
#include "cache/last_resort.h"
#include "cache/no_sigpipe.h"

namespace flashtune {
namespace {

constexpr int kStopSignals[] = {SIGINT, SIGTERM, SIGHUP};

// Signal handlers have no other way to reach what they are about.
volatile std::sig_atomic_t g_stop = 0;
volatile std::sig_atomic_t g_child = 0;

void set_handler(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

/// The actions of the stop signals as they were, put back when it goes.
class SavedHandlers {
 public:
  SavedHandlers() {
    for (std::size_t i = 0; i < std::size(kStopSignals); ++i) sigaction(kStopSignals[i], nullptr, &saved_[i]);
  }
  ~SavedHandlers() {
    for (std::size_t i = 0; i < std::size(kStopSignals); ++i) sigaction(kStopSignals[i], &saved_[i], nullptr);
  }
  SavedHandlers(const SavedHandlers&) = delete;
  SavedHandlers& operator=(const SavedHandlers&) = delete;

 private:
  struct sigaction saved_[std::size(kStopSignals)];
};

/// Holds the stop signals back: one that comes between fork() and the note of the child's pid would reach nobody.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (int signal : kStopSignals) sigaddset(&blocked, signal);
    sigprocmask(SIG_BLOCK, &blocked, &before_);
  }
  ~BlockedSignals() { release(); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  void release() { sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

void pass_on(int signal) {
  const bool again = g_stop != 0;
  g_stop = signal;
  // A terminal sends Ctrl-C to the child as well; the second request ends it even if it never looks up.
  if (g_child > 0 && (again || signal != SIGINT)) kill(static_cast<pid_t>(g_child), again ? SIGKILL : signal);
}

void note_stop(int signal) { g_stop = signal; }

SharedProgress& share_progress() {
  void* memory = mmap(nullptr, sizeof(SharedProgress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw Error(ErrorKind::kInternal, fmt::format("no shared memory: {}", std::strerror(errno)));
  return *new (memory) SharedProgress;
}

/// Whether all that was printed is written.
bool flush_all() {
  const NoSigpipe no_signal;
  return std::fflush(nullptr) == 0 && std::ferror(stdout) == 0;
}

[[noreturn]] void be_child(const Supervision& supervision, SharedProgress& progress, pid_t parent,
                           BlockedSignals& signals) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it died before we asked to follow it
  for (int signal : kStopSignals) set_handler(signal, SIG_DFL, 0);
  signals.release();
  int code = 1;
  try {
    code = supervision.work(progress);
    if (!flush_all() && code == 0) code = 1;
  } catch (const std::exception& error) {
    supervision.remark(text_of(error));
  } catch (...) {  // not into main(), which is the parent's
  }
  _exit(code);  // the parent's static objects are not ours to destroy
}

/// Forks; the stop signals reach the child from the moment it is there.
pid_t start_child(const Supervision& supervision, SharedProgress& progress) {
  flush_all();  // or the child would print it too
  BlockedSignals signals;
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw Error(ErrorKind::kInternal, fmt::format("no child process: {}", std::strerror(errno)));
  if (child == 0) {
    ++progress.starts;
    be_child(supervision, progress, parent, signals);
  }
  g_child = child;
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

std::string how_it_ended(int status) {
  return WIFSIGNALED(status) ? fmt::format("died ({})", strsignal(WTERMSIG(status))) : "asked for a fresh process";
}

}  // namespace

int supervise(const Supervision& supervision) {
  SharedProgress& progress = share_progress();
  const std::unique_ptr<SharedProgress, void (*)(SharedProgress*)> owner(
      &progress, [](SharedProgress* shared) { munmap(shared, sizeof(SharedProgress)); });
  const SavedHandlers handlers;
  g_stop = 0;
  for (int signal : kStopSignals) set_handler(signal, pass_on, SA_RESTART);

  for (int idle = 0;;) {
    const long before = progress.trials_done;
    const int status = wait_for(start_child(supervision, progress));
    g_child = 0;

    const bool asked = WIFEXITED(status) && WEXITSTATUS(status) == supervision.restart_code;
    if (g_stop != 0 || (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))) return 1;
    if (!asked && !WIFSIGNALED(status)) return WEXITSTATUS(status);

    idle = asked || progress.trials_done > before ? 0 : idle + 1;
    if (idle >= supervision.restarts_without_progress) {
      supervision.remark(fmt::format("the working process {} {} times in a row and got no further; giving up",
                                     how_it_ended(status), idle));
      return 1;
    }
    supervision.remark(fmt::format("the working process {}; going on with a new one", how_it_ended(status)));
  }
}

void watch_for_stop() {
  g_stop = 0;
  // The second signal finds the default action again and ends the process.
  for (int signal : kStopSignals) set_handler(signal, note_stop, SA_RESETHAND);
}

bool stop_requested() { return g_stop != 0; }

}  // namespace flashtune
