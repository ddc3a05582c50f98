// The parent of a sweep: restarts what dies, gives up on what gets no further, dies together.
#include "tuner/cli/supervise.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <vector>

namespace flashtune {
namespace {

Supervision supervision(std::function<int(SharedProgress&)> work, std::vector<std::string>* remarks = nullptr) {
  Supervision s;
  s.work = std::move(work);
  s.remark = [remarks](const std::string& line) {
    if (remarks != nullptr) remarks->push_back(line);
  };
  return s;
}

TEST(Supervisor, ReturnsTheExitCodeOfItsChild) {
  EXPECT_EQ(supervise(supervision([](SharedProgress&) { return 0; })), 0);
  EXPECT_EQ(supervise(supervision([](SharedProgress&) { return 7; })), 7);
}

TEST(Supervisor, RestartsAChildThatDiedWhileItMadeProgress) {
  std::vector<std::string> remarks;
  const int code = supervise(supervision(
      [](SharedProgress& progress) {
        ++progress.trials_done;
        if (progress.starts < 5) raise(SIGKILL);
        return 0;
      },
      &remarks));
  EXPECT_EQ(code, 0);
  EXPECT_EQ(remarks.size(), 4u);
}

TEST(Supervisor, GivesUpAfterTwoRestartsThatGotNoFurther) {
  std::vector<std::string> remarks;
  EXPECT_EQ(supervise(supervision([](SharedProgress&) { return raise(SIGKILL); }, &remarks)), 1);
  ASSERT_EQ(remarks.size(), 2u);
  EXPECT_NE(remarks.back().find("giving up"), std::string::npos) << remarks.back();
}

TEST(Supervisor, RestartsAChildThatAsksForIt) {
  EXPECT_EQ(supervise(supervision([](SharedProgress& progress) { return progress.starts < 6 ? 75 : 0; })), 0);
}

TEST(Supervisor, CountsInMemoryThatItsChildrenShare) {
  EXPECT_EQ(supervise(supervision([](SharedProgress& progress) {
              progress.problems_done += 3;
              return progress.starts < 3 ? 75 : progress.problems_done.load();
            })),
            9);
}

/// Waits until `ready` is set by another process.
void await(const std::atomic<int>& ready) {
  while (ready == 0) usleep(1000);
}

/// In memory that forked processes share.
std::atomic<int>& shared_int() {
  void* memory = mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *new (memory) std::atomic<int>(0);
}

/// Runs supervise() in a process of its own and returns its pid.
pid_t in_own_process(const std::function<int(SharedProgress&)>& work) {
  const pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    _exit(supervise(supervision(work)));
  }
  return pid;
}

TEST(Supervisor, PassesASignalOnAndEndsWithoutARestart) {
  std::atomic<int>& ready = shared_int();
  std::atomic<int>& stopped = shared_int();
  const pid_t parent = in_own_process([&](SharedProgress& progress) {
    watch_for_stop();
    ready = progress.starts.load();
    while (!stop_requested()) usleep(1000);
    stopped = 1;
    return 3;
  });
  await(ready);
  kill(parent, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(parent, &status, 0), parent);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(stopped, 1);
  EXPECT_EQ(ready, 1);
}

/// A pipe that nobody reads in the place of standard output.
void break_standard_output() {
  int ends[2];
  if (pipe(ends) != 0) _exit(2);
  close(ends[0]);
  dup2(ends[1], STDOUT_FILENO);
}

TEST(Supervisor, CountsAChildWhoseOutputIsLostAsFailed) {
  EXPECT_EQ(supervise(supervision([](SharedProgress&) {
              break_standard_output();
              std::printf("words");
              return 0;
            })),
            1)
      << "and it was not taken for one that died by SIGPIPE";
  EXPECT_EQ(supervise(supervision([](SharedProgress&) {
              break_standard_output();
              std::printf("words");
              return 7;
            })),
            7);
}

TEST(Supervisor, EndsAChildWhoseWorkThrows) {
  const pid_t self = getpid();
  const int code = supervise(supervision([](SharedProgress&) -> int { throw std::runtime_error("no more"); }));
  ASSERT_EQ(getpid(), self) << "the child ran its parent's code";
  EXPECT_EQ(code, 1);
}

TEST(Supervisor, TakesItsChildAlongWhenItIsKilled) {
  std::atomic<int>& child = shared_int();
  const pid_t parent = in_own_process([&](SharedProgress&) {
    child = getpid();
    for (;;) pause();
    return 0;
  });
  await(child);
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  int tries = 0;
  // Gone, or a zombie that nobody in this container collects.
  const auto alive = [&] {
    if (kill(child, 0) != 0) return false;
    const std::string stat = "/proc/" + std::to_string(child) + "/stat";
    FILE* file = std::fopen(stat.c_str(), "r");
    if (file == nullptr) return false;
    char state = '?';
    const int fields = std::fscanf(file, "%*d %*s %c", &state);
    std::fclose(file);
    return fields == 1 && state != 'Z';
  };
  while (alive() && ++tries < 5000) usleep(1000);
  EXPECT_LT(tries, 5000);
}

}  // namespace
}  // namespace flashtune
