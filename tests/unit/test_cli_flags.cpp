// Texts of single flags to values: numbers, times, dates, architectures, devices, filters.
#include <gtest/gtest.h>

#include "cache/error.h"
#include "tuner/cli/filter_flags.h"
#include "tuner/cli/flags.h"
#include "tuner/cli/target.h"
#include "tuner/model/cost_model.h"

namespace flashtune {
namespace {

TEST(IntFlag, TakesWholeNumbersThatFit) {
  EXPECT_EQ(int_of_flag("--n", "2147483647"), 2147483647);
  EXPECT_EQ(int_of_flag("--n", "-3"), -3);
  for (const char* text : {"", "1.5", "1e3", " 1", "2147483648", "0x10"})
    EXPECT_THROW(int_of_flag("--n", text), Error) << text;
}

TEST(ScaleFlag, TakesWhatKernelsCanComputeWith) {
  EXPECT_EQ(scale_of_flag("--scale", "-0.125"), -0.125f);
  EXPECT_EQ(scale_of_flag("--scale", "0"), 0.f);
  EXPECT_EQ(scale_of_flag("--scale", "1e-45"), 1e-45f);
  EXPECT_EQ(scale_of_flag("--scale", "2.3586e38"), 2.3586e38f);
  const auto refusal = [](const char* text) {
    try {
      scale_of_flag("--scale", text);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  for (const char* text : {"", "half", "1.5x", "0x1p3", " 1", "--2"})
    EXPECT_EQ(refusal(text), fmt::format("--scale {}: not a number", text));
  for (const char* text : {"3e38", "-3e38", "inf", "-inf", "nan", "3.4e38"})
    EXPECT_NE(refusal(text).find("at most 2.3586e+38"), std::string::npos) << refusal(text);
  for (const char* text : {"1e39", "-1e999", "1e-50"})
    EXPECT_NE(refusal(text).find("fp32 does not hold it"), std::string::npos) << refusal(text);
}

TEST(TimeFlag, TakesSecondsMinutesAndHours) {
  EXPECT_EQ(seconds_of_flag("--budget", "90s"), 90);
  EXPECT_EQ(seconds_of_flag("--budget", "10m"), 600);
  EXPECT_EQ(seconds_of_flag("--budget", "1.5h"), 5400);
  for (const char* text : {"", "s", "10", "10x", "0s", "-5m", "1m30s", "infs", "nans"})
    EXPECT_THROW(seconds_of_flag("--budget", text), Error) << text;
}

TEST(DateFlag, BecomesTheTimeThatRecordsHold) {
  EXPECT_EQ(date_of_flag("--older-than", "2026-11-20"), "2026-11-20T00:00:00Z");
  EXPECT_EQ(date_of_flag("--older-than", "2026-11-20T08:30:00Z"), "2026-11-20T08:30:00Z");
  for (const char* text : {"", "yesterday", "2026-11", "20-11-2026", "2026-11-20 08:30"})
    EXPECT_THROW(date_of_flag("--older-than", text), Error) << text;
}

TEST(ArchFlag, TakesEveryArchitectureThatCanBeModelled) {
  for (int arch : reference_architectures()) EXPECT_EQ(arch_of_flag("--arch", fmt::format("sm_{}", arch)), arch);
  for (const char* text : {"", "80", "sm_", "sm_81", "sm_90a", "sm_080", "hopper"})
    EXPECT_THROW(arch_of_flag("--arch", text), Error) << text;
}

TEST(ListFlag, RefusesEmptyEntries) {
  EXPECT_EQ(parts_of_flag("--seq-q", "1,22,333"), (std::vector<std::string>{"1", "22", "333"}));
  for (const char* text : {"", ",", "1,", ",1", "1,,2"}) EXPECT_THROW(parts_of_flag("--seq-q", text), Error) << text;
}

TEST(TargetFlags, NameAModelledGpuOrARealOne) {
  EXPECT_EQ(target_of({}).kind, Target::Kind::kAuto);
  EXPECT_EQ(target_of({"sm_90", ""}).kind, Target::Kind::kModel);
  EXPECT_EQ(target_of({"sm_90", ""}).arch, 90);
  EXPECT_EQ(target_of({"", "cuda:3"}).kind, Target::Kind::kCuda);
  EXPECT_EQ(target_of({"", "cuda:3"}).ordinal, 3);
  EXPECT_EQ(target_of({"", "sim"}).kind, Target::Kind::kModel);
  EXPECT_EQ(target_of({"", "sim"}).arch, 80);
  EXPECT_EQ(target_of({"sm_90", "sim"}).arch, 90);
  for (const char* device : {"cuda", "cuda:", "cuda:x", "cuda:-1", "cuda:99999999999", "gpu"})
    EXPECT_THROW(target_of({"", device}), Error) << device;
  EXPECT_THROW(target_of({"sm_90", "cuda:0"}), Error);
}

TEST(TargetFlags, AGpuThatIsTooOldIsModelledUnlessItWasNamed) {
  CudaInventory inventory;
  inventory.devices.resize(1);
  inventory.devices[0].id = "cuda:0";
  inventory.devices[0].key = {"Tesla T4", 40, 75};
  const FoundTarget found = find_target(target_of({}), inventory);
  EXPECT_FALSE(found.gpu.has_value());
  ASSERT_TRUE(found.model.has_value());
  EXPECT_NE(found.why_no_gpu.find("cuda:0 (Tesla T4, sm_75) is too old"), std::string::npos) << found.why_no_gpu;
  EXPECT_THROW(find_target(target_of({"", "cuda:0"}), inventory), Error);
  inventory.devices[0].key = {"NVIDIA A10", 72, 86};
  EXPECT_EQ(find_target(target_of({}), inventory).key().arch, 86);
}

TEST(TargetFlags, AModelledGpuNeedsNoDevice) {
  const FoundTarget found = find_target(target_of({"sm_80", ""}));
  EXPECT_FALSE(found.gpu.has_value());
  EXPECT_EQ(found.key().arch, 80);
  EXPECT_EQ(found.driver(), "");
  EXPECT_NE(found.note.find("modelled"), std::string::npos);
}

TEST(FilterFlags, SelectByEachField) {
  FilterFlags flags;
  EXPECT_TRUE(is_empty(flags));
  flags = {"sm_87", "NVIDIA H200", "prefill", "fp16", "128", "wrong", "2026-11-20", "580.1"};
  EXPECT_FALSE(is_empty(flags));
  const RecordFilter filter = filter_of(flags);
  EXPECT_EQ(filter.arch, 87);
  EXPECT_EQ(filter.device_name, "NVIDIA H200");
  EXPECT_EQ(filter.op, Op::kPrefill);
  EXPECT_EQ(filter.dtype, Dtype::kFp16);
  EXPECT_EQ(filter.head_dim, 128);
  EXPECT_EQ(filter.outcome, Outcome::kWrong);
  EXPECT_EQ(filter.older_than, "2026-11-20T00:00:00Z");
  EXPECT_EQ(filter.driver_not, "580.1");
}

TEST(FilterFlags, NoFlagIsNoFilter) {
  const RecordFilter filter = filter_of({});
  EXPECT_FALSE(filter.arch || filter.device_name || filter.op || filter.dtype || filter.head_dim || filter.outcome ||
               filter.older_than || filter.driver_not);
}

}  // namespace
}  // namespace flashtune
