// Tensor maps that are remembered: each box its own, and threads that read while others write.
#include "runtime/device/tensor_map_cache.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace flashtune {
namespace {

TensorBox box_at(DevicePtr base) {
  TensorBox box;
  box.base = base;
  for (int i = 0; i < 4; ++i) box.sizes[i] = 64 + i, box.strides[i] = 64 << i, box.box[i] = 16;
  return box;
}

/// A map of which every word tells the box's address.
TensorMap map_of(const TensorBox& box) {
  TensorMap map;
  for (unsigned long long& word : map.opaque) word = box.base;
  return map;
}

/// Encodes, and counts.
struct Encoder {
  int calls = 0;
  TensorMap operator()(const TensorBox& box) {
    ++calls;
    return map_of(box);
  }
};

TEST(TensorMapCache, EncodesABoxOnce) {
  TensorMapCache cache(64);
  Encoder encode;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cache.of(box_at(0x1000), encode).opaque[15], 0x1000u);
  EXPECT_EQ(encode.calls, 1);
  EXPECT_EQ(cache.of(TensorBox{}, encode).opaque[0], 0u);
  EXPECT_EQ(encode.calls, 2) << "a box of zeros is none that was there";
}

TEST(TensorMapCache, TellsBoxesApartByEachOfTheirFields) {
  std::vector<TensorBox> boxes = {box_at(0x1000), box_at(0x2000)};
  const auto add = [&](auto&& change) { change(boxes.emplace_back(box_at(0x1000))); };
  add([](TensorBox& box) { box.axes = 5; });
  for (int i = 0; i < TensorBox::kMostAxes; ++i) {
    add([i](TensorBox& box) { ++box.sizes[i]; });
    add([i](TensorBox& box) { box.strides[i] += 8; });
    add([i](TensorBox& box) { ++box.box[i]; });
  }
  for (const TensorBox& other : boxes) {
    TensorMapCache cache(2);
    Encoder encode;
    cache.of(boxes[0], encode);
    cache.of(other, encode);
    EXPECT_EQ(encode.calls, &other == &boxes[0] ? 1 : 2) << &other - boxes.data();
  }
}

TEST(TensorMapCache, HoldsTwoBoxesOfOnePairAndReplacesTheOlder) {
  TensorMapCache cache(2);
  Encoder encode;
  for (const DevicePtr base : {0x1000, 0x2000, 0x1000, 0x2000}) cache.of(box_at(base), encode);
  EXPECT_EQ(encode.calls, 2);
  cache.of(box_at(0x3000), encode);
  cache.of(box_at(0x2000), encode);
  EXPECT_EQ(encode.calls, 3);
  EXPECT_EQ(cache.of(box_at(0x1000), encode).opaque[0], 0x1000u);
  EXPECT_EQ(encode.calls, 4);
}

TEST(TensorMapCache, OfNoPlacesRemembersNothing) {
  TensorMapCache cache(0);
  Encoder encode;
  cache.of(box_at(0x1000), encode);
  EXPECT_EQ(cache.of(box_at(0x1000), encode).opaque[0], 0x1000u);
  EXPECT_EQ(encode.calls, 2);
}

TEST(TensorMapCache, GivesThreadsWholeMapsOfTheirBoxes) {
  TensorMapCache cache(4);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&cache, t] {
      for (unsigned i = 0; i < 20'000; ++i) {
        const TensorBox box = box_at(0x1000u * ((i * 7 + t) % 9));
        const TensorMap map = cache.of(box, map_of);
        for (const unsigned long long word : map.opaque) ASSERT_EQ(word, box.base);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace flashtune
