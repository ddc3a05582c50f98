// How far off an element may be, where the unfused answer is exact: in units of what is multiplied.
#include <gtest/gtest.h>

#include "tuner/judge/output_check.h"

namespace flashtune {
namespace {

double bound(Dtype dtype, Precision precision, double row_scale) {
  Problem p;
  p.dtype = dtype;
  p.precision = precision;
  ReferenceRow row;
  row.keys = 1;  // its answer is a row of V, which nothing rounds
  return ErrorBounds(p, {row}).output(1, row_scale);
}

TEST(ErrorBounds, AreOneUnitOfTheElementsThatAreMultiplied) {
  EXPECT_EQ(bound(Dtype::kBf16, Precision::kIeee, 1.5), 0x1p-7);
  EXPECT_EQ(bound(Dtype::kFp16, Precision::kIeee, 1.5), 0x1p-10);
  EXPECT_EQ(bound(Dtype::kFp32, Precision::kTf32, 1.5), 0x1p-10);
  EXPECT_EQ(bound(Dtype::kFp32, Precision::kTf32x3, 1.5), 0x1p-21);
  EXPECT_EQ(bound(Dtype::kFp32, Precision::kIeee, 1.5), 0x1p-21);
}

TEST(ErrorBounds, GrowWithTheRowAndWithTheUnfusedError) {
  EXPECT_EQ(bound(Dtype::kFp32, Precision::kTf32, 6.0), 0x1p-8);
  Problem p;
  p.dtype = Dtype::kFp16;
  ReferenceRow row;
  row.keys = 100, row.unfused_error = 0.25;
  EXPECT_EQ(ErrorBounds(p, {row}).output(100, 1.0), 0.5 + 0x1p-10);
  EXPECT_EQ(ErrorBounds(p, {row}).output(0, 1.0), 0) << "a fully masked row is exactly 0";
}

}  // namespace
}  // namespace flashtune
