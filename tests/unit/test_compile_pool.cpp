// The compile pool: order, exceptions, cancelling, many threads.
#include "tuner/sweep/compile_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cache/error.h"

namespace flashtune {
namespace {

Compiled made(int number) {
  Compiled compiled;
  compiled.ok = true;
  compiled.cubin = std::to_string(number);
  return compiled;
}

CompileJob echo(int number) {
  return [number] { return made(number); };
}

TEST(CompilePool, ReturnsEachTicketsOwnResult) {
  CompilePool pool(4);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(pool.submit(echo(i)), i);
  for (int i = 199; i >= 0; --i) EXPECT_EQ(pool.wait(i).cubin, std::to_string(i));
}

TEST(CompilePool, StartsInTheOrderOfSubmission) {
  std::vector<int> started;  // one worker: no race
  {
    CompilePool pool(1);
    for (int i = 0; i < 20; ++i)
      pool.submit([&started, i] {
        started.push_back(i);
        return Compiled{};
      });
    pool.wait(19);
  }
  std::vector<int> expected(20);
  for (int i = 0; i < 20; ++i) expected[static_cast<std::size_t>(i)] = i;
  EXPECT_EQ(started, expected);
}

TEST(CompilePool, WaitAnyReportsEveryTicketOnceAndThenMinusOne) {
  CompilePool pool(3);
  for (int i = 0; i < 50; ++i) pool.submit(echo(i));
  pool.wait(7);  // so wait_any() must not report it again
  std::set<int> seen;
  for (int ticket = pool.wait_any(); ticket != -1; ticket = pool.wait_any()) EXPECT_TRUE(seen.insert(ticket).second);
  EXPECT_EQ(seen.size(), 49u);
  EXPECT_EQ(seen.count(7), 0u);
  EXPECT_EQ(pool.wait_any(), -1);
}

TEST(CompilePool, CarriesAnExceptionToWhoeverWaits) {
  CompilePool pool(2);
  const int good = pool.submit(echo(0));
  const int bad = pool.submit([]() -> Compiled { throw Error(ErrorKind::kCompile, "no NVRTC here"); });
  EXPECT_EQ(pool.wait(good).cubin, "0");
  try {
    pool.wait(bad);
    FAIL() << "the exception was swallowed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCompile);
    EXPECT_STREQ(error.what(), "no NVRTC here");
  }
}

TEST(CompilePool, CancelDropsWhatHasNotStartedAndKeepsWhatHas) {
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  std::atomic<int> runs{0};
  CompilePool pool(1);
  const auto held = [&](int number) {
    return [&runs, opened, number] {
      ++runs;
      opened.wait();
      return made(number);
    };
  };
  const int first = pool.submit(held(0)), second = pool.submit(held(1));
  while (runs == 0) std::this_thread::yield();
  pool.cancel();
  gate.set_value();
  EXPECT_EQ(pool.wait(first).cubin, "0");
  EXPECT_THROW(pool.wait(second), Error);
  EXPECT_EQ(pool.wait_any(), -1);
  const int third = pool.submit(held(2));  // the pool goes on after a cancel
  EXPECT_EQ(pool.wait(third).cubin, "2");
  EXPECT_EQ(runs, 2);
}

TEST(CompilePool, DestructionDoesNotRunTheQueue) {
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  std::atomic<int> runs{0};
  {
    auto pool = std::make_unique<CompilePool>(1);
    for (int i = 0; i < 100; ++i)
      pool->submit([&runs, opened, i] {
        ++runs;
        opened.wait();
        return made(i);
      });
    while (runs == 0) std::this_thread::yield();
    std::thread opener([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      gate.set_value();
    });
    pool.reset();  // while the one that runs is still held
    opener.join();
  }
  EXPECT_EQ(runs, 1);
}

TEST(CompilePool, UsesItsThreadsAtOnce) {
  std::atomic<int> inside{0};
  CompilePool pool(3);
  for (int i = 0; i < 3; ++i)
    pool.submit([&inside, i] {
      ++inside;
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
      while (inside < 3 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
      return inside >= 3 ? made(i) : Compiled{};
    });
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.wait(i).ok);
}

TEST(CompilePool, ReleaseFreesTheCubinOnly) {
  CompilePool pool(1);
  const int ticket = pool.submit(echo(5));
  EXPECT_EQ(pool.wait(ticket).cubin, "5");
  pool.release(ticket);
  EXPECT_TRUE(pool.wait(ticket).cubin.empty());
  EXPECT_TRUE(pool.wait(ticket).ok);
}

TEST(CompilePool, DropsAJobOnceItRan) {
  const auto source = std::make_shared<std::string>("text");
  CompilePool pool(1);
  const int ticket = pool.submit([source] { return made(source->empty() ? 0 : 1); });
  EXPECT_EQ(pool.wait(ticket).cubin, "1");
  EXPECT_EQ(source.use_count(), 1);
}

TEST(CompilePool, RefusesATicketThatWasNeverGiven) {
  CompilePool pool(1);
  EXPECT_THROW(pool.wait(0), Error);
  EXPECT_THROW(pool.ready(-1), Error);
}

}  // namespace
}  // namespace flashtune
