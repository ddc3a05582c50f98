// The primitives on a GPU: the fixtures that the simulated device must reproduce. FLASHTUNE_WRITE_FIXTURES=DIR writes
// them to DIR/primitives.json instead of comparing.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/gpu.h"
#include "tests/support/hopper_fixtures.h"
#include "tests/support/primitive_fixtures.h"

namespace flashtune {
namespace {

class Primitives : public GpuTest {};

TEST_F(Primitives, AreThoseOfTheFixtures) {
  const PrimitiveWords got =
      run_primitives(device(), [&](const std::string& entry) { return cubin_of(primitive_source(), entry); });
  if (const char* folder = std::getenv("FLASHTUNE_WRITE_FIXTURES")) {
    const DeviceInfo& info = device().info();
    std::ofstream(std::filesystem::path(folder) / "primitives.json")
        << primitive_fixture_json(got, info.key.name + ", driver " + info.driver);
    return;
  }
  const auto wanted = read_primitive_fixture();
  ASSERT_TRUE(wanted) << primitive_fixture_path() << " is not there; write it with FLASHTUNE_WRITE_FIXTURES=DIR";
  for (const std::string& line : primitive_differences(got, *wanted)) ADD_FAILURE() << line;
}

class HopperPrimitives : public GpuTest, public testing::WithParamInterface<std::string> {};

TEST_P(HopperPrimitives, LeaveWhatIsWorkedOut) {
  if (device().info().key.arch != 90) GTEST_SKIP() << "these instructions are sm_90a's alone";
  static const std::string cubin = cubin_of(hopper_source(), GetParam(), "sm_90a");  // and all others
  for (const std::string& line : hopper_differences(device(), cubin, GetParam())) ADD_FAILURE() << line;
}

std::vector<std::string> hopper_names() {
  std::vector<std::string> names;
  for (const auto& [name, kernel] : hopper_kernels()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(EachKernel, HopperPrimitives, testing::ValuesIn(hopper_names()),
                         [](const auto& one) { return one.param; });

}  // namespace
}  // namespace flashtune
