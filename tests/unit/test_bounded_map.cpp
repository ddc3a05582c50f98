// A map that holds only so much: what is found, what gives way, and threads that read while others write.
#include "runtime/dispatch/bounded_map.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace flashtune {
namespace {

using Map = BoundedMap<int, int>;

/// The values of these keys that are there, whatever they hash to.
int found(const Map& map, int keys, std::uint64_t (*hash)(int)) {
  int count = 0;
  for (int key = 0; key < keys; ++key)
    if (const auto held = map.find(hash(key), key)) {
      EXPECT_EQ(*held, 10 * key);
      ++count;
    }
  return count;
}

std::uint64_t one_set(int key) { return static_cast<std::uint64_t>(key) << 32; }
std::uint64_t one_hash(int) { return 7; }

TEST(BoundedMap, FindsWhatWasPut) {
  Map map(4);
  EXPECT_FALSE(map.find(0, 0)) << "an empty place has hash 0";
  map.put(0, 0, 5);
  map.put(9, 1, 6);
  EXPECT_EQ(*map.find(0, 0), 5);
  EXPECT_EQ(*map.find(9, 1), 6);
  EXPECT_FALSE(map.find(9, 2)) << "of the same hash";
  map.put(9, 1, 8);
  EXPECT_EQ(*map.find(9, 1), 8);
}

TEST(BoundedMap, KeepsApartKeysOfOneHash) {
  Map map(1);
  for (int key = 0; key < 8; ++key) map.put(one_hash(key), key, 10 * key);
  EXPECT_EQ(found(map, 8, one_hash), 8);
}

TEST(BoundedMap, HoldsNoMoreThanItsBound) {
  Map map(1);
  for (int key = 0; key < 1000; ++key) map.put(one_set(key), key, 10 * key);
  EXPECT_EQ(found(map, 1000, one_set), 8);
  EXPECT_TRUE(map.find(one_set(999), 999)) << "the last one";
}

TEST(BoundedMap, KeepsWhatIsAskedForWhileOthersComeAndGo) {
  Map map(1);
  map.put(one_set(0), 0, 0);
  for (int key = 1; key < 1000; ++key) {
    ASSERT_TRUE(map.find(one_set(0), 0)) << key;
    map.put(one_set(key), key, 10 * key);
  }
}

TEST(BoundedMap, LeavesAloneWhatIsHeld) {
  Map map(1);
  for (int key = 0; key < 8; ++key) map.put(one_set(key), key, 10 * key);
  const auto held = map.find(one_set(3), 3);
  for (int key = 8; key < 100; ++key) map.put(one_set(key), key, 10 * key);
  EXPECT_EQ(*held, 30);
  map.put(one_set(3), 3, 31);
  EXPECT_EQ(*held, 30) << "what stands in its place goes elsewhere";
}

TEST(BoundedMap, ForgetsWhatIsNewWhereEveryPlaceIsHeld) {
  Map map(1);
  for (int key = 0; key < 8; ++key) map.put(one_set(key), key, 10 * key);
  {
    const auto a = map.find(one_set(0), 0), b = map.find(one_set(1), 1), c = map.find(one_set(2), 2),
               d = map.find(one_set(3), 3), e = map.find(one_set(4), 4), f = map.find(one_set(5), 5),
               g = map.find(one_set(6), 6), h = map.find(one_set(7), 7);
    map.put(one_set(8), 8, 80);
    EXPECT_FALSE(map.find(one_set(8), 8));
  }
  map.put(one_set(8), 8, 80);
  EXPECT_TRUE(map.find(one_set(8), 8));
}

/// A value whose parts can be told to be of different writes.
struct Wide {
  int parts[64];
};

TEST(BoundedMap, GivesThreadsWholeValuesOfTheirKeys) {
  BoundedMap<int, Wide> map(2);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&map, t] {
      for (int i = 0; i < 20'000; ++i) {
        const int key = (i * 7 + t * 13) % 40;
        const std::uint64_t hash = static_cast<std::uint64_t>(key) * 0x9E3779B97F4A7C15u;
        if (const auto held = map.find(hash, key)) {
          for (const int part : held->parts) ASSERT_EQ(part % 40, key);
          ASSERT_EQ(held->parts[0], held->parts[63]);
          continue;
        }
        Wide wide;
        for (int& part : wide.parts) part = key + 40 * (i % 1000);
        map.put(hash, key, wide);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace flashtune
