// Every template compiles alone: a header that leans on what its includer happened to include breaks whoever includes
// it next.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runtime/jit/nvrtc.h"
#include "runtime/jit/source.h"
#include "tests/support/hopper_fixtures.h"

namespace flashtune {
namespace {

class EachTemplate : public testing::TestWithParam<std::string> {
 protected:
  static std::shared_ptr<const Nvrtc> nvrtc() {
    static const std::shared_ptr<const Nvrtc> loaded = Nvrtc::load();
    return loaded;
  }
};

TEST_P(EachTemplate, CompilesAlone) {
  Source source;
  source.text = "#include \"" + GetParam() + "\"\nextern \"C\" __global__ void alone() {}\n";
  source.entry = "alone";
  source.target = "sm_80";
  const Compiled compiled = nvrtc()->compile(source, Templates::embedded());
  EXPECT_TRUE(compiled.ok) << compiled.log;
}

TEST(Fixtures, OfSm90Compile) {
  const Source source{hopper_source(), "wgmma_bf16_80", "sm_90a", ""};
  const Compiled compiled = Nvrtc::load()->compile(source, Templates::embedded());
  EXPECT_TRUE(compiled.ok) << compiled.log;
}

std::vector<std::string> all_templates() {
  std::vector<std::string> paths;
  for (const auto& [path, text] : Templates::embedded().files()) paths.push_back(path);
  return paths;
}

INSTANTIATE_TEST_SUITE_P(Templates, EachTemplate, testing::ValuesIn(all_templates()), [](const auto& param) {
  std::string name = param.param;
  for (char& c : name)
    if (!isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

}  // namespace
}  // namespace flashtune
