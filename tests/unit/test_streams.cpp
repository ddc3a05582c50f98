// The standard streams: a loss of output is told once, a loss of remarks never hurts, closed descriptors are filled.
#include "tuner/cli/streams.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "cache/standard_error.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::ended_well;
using testing::start_child;
using testing::TempFolder;

/// Puts a pipe that nobody reads in the place of a descriptor.
void break_pipe_at(int fd) {
  int ends[2];
  if (pipe(ends) != 0) _exit(2);
  close(ends[0]);
  dup2(ends[1], fd);
  close(ends[1]);
}

template <class Body>
int loss_of(Body&& body) {
  try {
    body();
  } catch (const OutputLost& lost) {
    return lost.error;
  }
  return 0;
}

TEST(StandardOutput, TellsThatItIsGoneOnce) {
  EXPECT_TRUE(ended_well(start_child([] {
    break_pipe_at(STDOUT_FILENO);
    const int first = loss_of([] { print_now("words"); });
    const int then = loss_of([] { print_now("more"); }) + loss_of(flush_output) + loss_of(finish_output);
    return first == EPIPE && then == 0;
  })));
}

TEST(StandardOutput, TellsALossAtTheEndAtTheLatest) {
  EXPECT_TRUE(ended_well(start_child([] {
    break_pipe_at(STDOUT_FILENO);
    return loss_of([] { print("few words"); }) == 0 && loss_of(finish_output) == EPIPE;
  })));
}

TEST(StandardOutput, RemembersALossThatStdioForgets) {
  EXPECT_TRUE(ended_well(start_child([] {
    break_pipe_at(STDOUT_FILENO);
    const std::string much(100000, 'x');
    const int lost = loss_of([&] { print(much); });  // more than stdio holds back: the last flush has nothing to do
    return lost == EPIPE;
  })));
  EXPECT_TRUE(ended_well(start_child([] {
    break_pipe_at(STDOUT_FILENO);
    print("words");
    remark("this flushes them");
    return loss_of(finish_output) == EPIPE;
  })));
}

TEST(StandardOutput, SaysWhyItIsLost) {
  EXPECT_EQ(OutputLost{ENOSPC}.text(), "standard output could not be written: No space left on device");
  EXPECT_TRUE(OutputLost{EPIPE}.nobody_reads());
  EXPECT_FALSE(OutputLost{ENOSPC}.nobody_reads());
}

TEST(StandardError, MayBeClosedOrGone) {
  EXPECT_TRUE(ended_well(start_child([] {
    break_pipe_at(STDERR_FILENO);
    errno = 7;
    write_to_standard_error("words\n");
    if (errno != 7) return false;
    remark("more");
    close(STDERR_FILENO);
    write_to_standard_error("words\n");
    remark("more");
    return true;
  })));
}

TEST(StandardStreams, LeaveNoDescriptorToOtherFiles) {
  for (const int closed : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, -1})
    EXPECT_TRUE(ended_well(start_child([closed] {
      for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (closed < 0 || closed == fd) close(fd);
      secure_standard_streams();
      const TempFolder folder;
      return open((folder / "database").c_str(), O_RDWR | O_CREAT, 0600) > STDERR_FILENO;
    }))) << closed;
}

TEST(StandardStreams, FailAsBeforeWhereTheyWereClosed) {
  EXPECT_TRUE(ended_well(start_child([] {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) close(fd);
    secure_standard_streams();
    char byte = 0;
    const bool nothing_to_read = read(STDIN_FILENO, &byte, 1) < 0 && errno == EBADF;
    const bool lost = loss_of([] { print_now("words"); }) == EBADF;
    remark("nobody hears");
    return nothing_to_read && lost;
  })));
}

TEST(StandardStreams, StayWhatTheyAreWhereTheyAreOpen) {
  EXPECT_TRUE(ended_well(start_child([] {
    break_pipe_at(STDOUT_FILENO);
    secure_standard_streams();
    return loss_of([] { print_now("words"); }) == EPIPE;
  })));
}

}  // namespace
}  // namespace flashtune
