// What an append is timed on. That it finds what is wrong is seen where there is a kernel: test_sim_append.cpp.
#include "tuner/judge/append_data.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/support/append_case.h"
#include "tests/support/fake_device.h"

namespace flashtune {
namespace {

TEST(AppendData, SetsAreOfOtherPositionsOfOneCache) {
  FakeDevice device;
  const Problem p = with_layout(append_problem(Dtype::kFp16, 2, 4, 2, 3, 40, 64), Layout::kBshd);
  const AppendData data(device, p, Rope::kHalfSplit);
  const AppendSets sets(device, p, data.tensors(), Rope::kHalfSplit);
  EXPECT_EQ(sets.sets(), 256) << "small ones end at a number";
  std::set<int> seen;
  std::set<DevicePtr> rows;
  for (int i = 0; i < sets.sets(); ++i) {
    EXPECT_EQ(sets.set(i).k, data.tensors().k);
    rows.insert({sets.set(i).k_new, sets.set(i).v_new, sets.set(i).q, sets.set(i).q_out});
    Lengths lengths(2);
    device.copy_out(lengths.data(), sets.set(i).lengths, sizeof(int) * lengths.size());
    seen.insert(lengths.begin(), lengths.end());
  }
  EXPECT_EQ(rows.size(), 4u * 256) << "each set has rows of its own";
  EXPECT_EQ(seen.size(), 13u) << "40 keys hold 13 steps of 3";
  EXPECT_EQ(*seen.begin(), 4);
  EXPECT_EQ(*seen.rbegin(), 40);
}

TEST(AppendData, SetsAreAsManyAsExceedTwiceTheL2) {
  DeviceInfo info = fake_device_info();
  info.l2_bytes = 10000;
  FakeDevice device(info);
  const Problem p = with_layout(append_problem(Dtype::kFp16, 2, 4, 2, 3, 40, 64), Layout::kBshd);
  EXPECT_EQ(append_bytes(p, Rope::kNone), 2 * 2 * 2 * 3 * 64 * 4);
  EXPECT_EQ(append_bytes(p, Rope::kHalfSplit), 2 * 2 * 2 * 3 * 64 * (4 + 4));
  const AppendData data(device, p, Rope::kNone);
  EXPECT_EQ(AppendSets(device, p, data.tensors(), Rope::kNone).sets(), 4) << "20000 bytes, 6144 each";
}

}  // namespace
}  // namespace flashtune
