// The digest of a kernel's code, out of cubins made by hand, also of damaged ones. What the real compiler's changes do
// to it: tests/compile/test_code_digests.cpp.
#include "runtime/jit/code_digest.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <utility>

#include "cache/error.h"
#include "tests/support/cubin_builder.h"

namespace flashtune {
namespace {

CodeDigest digest_of(const CubinBuilder& builder, const BesideCubin& beside = {}) {
  return code_digest_of(builder.bytes(), builder.entry, beside);
}

/// Whatever the bytes, the only exception is Error(kInternal); its words, or "" where there was none.
std::string why_not(const std::string& cubin, const std::string& entry = "kernel") {
  try {
    code_digest_of(cubin, entry, {});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal) << error.what();
    return error.what();
  }
  return {};
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CodeDigest, SaysWhatItWasMadeOf) {
  CubinBuilder builder;
  builder.registers = 168;
  builder.frame = 40;
  builder.shared_bytes = 512;
  builder.opcodes = {0x23c, 0x83b, 0x387};
  const CodeDigest d = digest_of(builder, {.spill_bytes = 12, .smem_dynamic = 98304});
  EXPECT_EQ(d.text_bytes, 48u);
  EXPECT_EQ(d.registers, 168);
  EXPECT_EQ(d.stack_bytes, 40);
  EXPECT_EQ(d.spill_bytes, 12);
  EXPECT_EQ(d.smem_static, 512);
  EXPECT_EQ(d.smem_dynamic, 98304);
  EXPECT_EQ(d.digest.size(), 32u);
  EXPECT_EQ(d.digest.find_first_not_of("0123456789abcdef"), std::string::npos) << d.digest;
}

TEST(CodeDigest, ChangesWithEachPartOfIt) {
  const CubinBuilder usual;
  std::set<std::string> seen = {digest_of(usual).digest};
  const auto is_new = [&](const std::function<void(CubinBuilder&, BesideCubin&)>& change) {
    CubinBuilder builder = usual;
    BesideCubin beside;
    change(builder, beside);
    return seen.insert(digest_of(builder, beside).digest).second;
  };
  EXPECT_TRUE(is_new([](CubinBuilder& b, BesideCubin&) { b.opcodes.back() = 0x983; })) << "an instruction";
  EXPECT_TRUE(is_new([](CubinBuilder& b, BesideCubin&) { std::swap(b.opcodes[1], b.opcodes[2]); })) << "their order";
  EXPECT_TRUE(is_new([](CubinBuilder& b, BesideCubin&) { b.opcodes.push_back(0x111); })) << "one more";
  EXPECT_TRUE(is_new([](CubinBuilder& b, BesideCubin&) { b.constants = "eight of"; })) << "a table that it reads";
  EXPECT_TRUE(is_new([](CubinBuilder& b, BesideCubin&) { b.constants = "8 others"; })) << "another table";
  EXPECT_TRUE(is_new([](CubinBuilder& b, BesideCubin&) { b.registers += 8; })) << "registers";
  EXPECT_TRUE(is_new([](CubinBuilder& b, BesideCubin&) { b.frame += 8; })) << "stack";
  EXPECT_TRUE(is_new([](CubinBuilder& b, BesideCubin&) { b.shared_bytes = 16; })) << "static shared memory";
  EXPECT_TRUE(is_new([](CubinBuilder&, BesideCubin& o) { o.spill_bytes = 16; })) << "spills";
  EXPECT_TRUE(is_new([](CubinBuilder&, BesideCubin& o) { o.smem_dynamic = 16; })) << "dynamic shared memory";
}

TEST(CodeDigest, IsThatOfTheCodeAndNotOfTheFile) {
  const CubinBuilder usual;
  CubinBuilder renamed = usual;
  renamed.entry = "a_kernel_of_quite_another_name";
  ASSERT_NE(usual.bytes(), renamed.bytes());
  EXPECT_EQ(digest_of(usual), digest_of(renamed));
  CubinBuilder bounded = usual;
  bounded.max_threads[0] = 512;  // in .nv.info, as parameters are
  ASSERT_NE(usual.bytes(), bounded.bytes());
  EXPECT_EQ(digest_of(usual), digest_of(bounded));
  EXPECT_EQ(digest_of(usual), code_digest_of(usual.bytes() + "what follows the section table", "kernel", {}));
}

TEST(CodeDigest, OfAKernelThatIsNotThereIsRefusedByName) {
  EXPECT_TRUE(holds(why_not(CubinBuilder().bytes(), "another"), "no kernel named another"));
  EXPECT_TRUE(holds(why_not(CubinBuilder().bytes(), ""), "no kernel named"));
}

TEST(CodeDigest, OfAKernelWithoutCodeIsRefused) {
  CubinBuilder builder;
  builder.opcodes.clear();
  EXPECT_TRUE(holds(why_not(builder.bytes()), "its kernel kernel has no instructions")) << why_not(builder.bytes());
}

TEST(CodeDigest, OfWhatIsNoCubinIsRefused) {
  EXPECT_NE(why_not(""), "");
  EXPECT_TRUE(holds(why_not(std::string(4096, 'x')), "no 64-bit ELF"));
  std::string for_a_cpu = CubinBuilder().bytes();
  for_a_cpu[18] = 62;  // e_machine of x86-64
  for_a_cpu[19] = 0;
  EXPECT_TRUE(holds(why_not(for_a_cpu), "62 is not CUDA"));
}

TEST(CodeDigest, IsNeverMadeOfAFileThatWasCut) {
  const std::string whole = CubinBuilder().bytes();
  ASSERT_EQ(why_not(whole), "");
  // Copied to a string of its own each time, so that a sanitizer sees one byte too many.
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_NE(why_not(std::string(whole, 0, size)), "") << size;
}

TEST(CodeDigest, SurvivesAnyByteBeingWrong) {
  CubinBuilder builder;
  builder.shared_bytes = 2048;
  const std::string whole = builder.bytes();
  int readable = 0;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int value : {0x00, 0x7f, 0x80, 0xff, whole[at] ^ 1}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(value);
      readable += why_not(damaged).empty();
    }
  EXPECT_GT(readable, 0);
}

}  // namespace
}  // namespace flashtune
