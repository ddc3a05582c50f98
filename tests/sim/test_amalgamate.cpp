// One translation unit out of a source and headers in memory.
#include "sim/compile/amalgamate.h"

#include <gtest/gtest.h>

#include "cache/error.h"

namespace flashtune::sim {
namespace {

TEST(Amalgamate, PutsEachHeaderInOnceAndKeepsLineNumbers) {
  const std::map<std::string, std::string> headers = {{"a.h", "#pragma once\n#include \"b.h\"\nint a;\n"},
                                                      {"b.h", "#pragma once\nint b;\n"}};
  EXPECT_EQ(amalgamate("#include \"a.h\"\n#include \"b.h\"\nint c;\n", headers),
            "#line 1 \"kernel.cu\"\n"
            "#line 1 \"a.h\"\n"
            "\n"
            "#line 1 \"b.h\"\n"
            "\n"
            "int b;\n"
            "#line 3 \"a.h\"\n"
            "int a;\n"
            "#line 2 \"kernel.cu\"\n"
            "#line 3 \"kernel.cu\"\n"
            "int c;\n");
}

TEST(Amalgamate, NamesAnIncludeThatIsNotThere) {
  try {
    amalgamate("int a;\n#include \"missing.h\"\n", {});
    FAIL() << "nothing was missing";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "kernel.cu:2 includes \"missing.h\", which the template tree does not hold");
  }
}

}  // namespace
}  // namespace flashtune::sim
