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

TEST_F(Primitives, OfSm90LeaveWhatIsWorkedOut) {
  if (device().info().key.arch != 90) GTEST_SKIP() << "these instructions are sm_90a's alone";
  const std::string cubin = cubin_of(hopper_source(), "first_lane", "sm_90a");  // and all others
  for (const std::string& line : hopper_differences(device(), cubin)) ADD_FAILURE() << line;
}

}  // namespace
}  // namespace flashtune
