// The table of recorded code digests: read, written, and every way in which a kernel may differ from its line.
#include "tests/support/digest_table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "cache/codec.h"

namespace flashtune {
namespace {

constexpr const char* kDigest = "0123456789abcdef0123456789abcdef";
constexpr const char* kProblem = "prefill bf16 b1 h8 kv8 q1024 k1024 d64 dv64 causal w0 bshd";
constexpr const char* kFigures = "text 1024, registers 168, stack 8, spills 16, static 0, dynamic 4096";

std::string line(const std::string& candidate = "prefill_mma br=64") {
  return fmt::format("sm_90 | {} | {} | flashtune_prefill_mma | {} | {}", kProblem, candidate, kDigest, kFigures);
}

ReadDigestTable read(const std::string& lines) { return digest_table_from_text("# head\nnvrtc 1.2.3\n" + lines); }

/// The one fault of a table with one line.
std::string fault_of(const std::string& one_line) {
  const ReadDigestTable table = read(line("prefill_mma br=32") + "\n" + one_line + "\n");
  EXPECT_EQ(table.faults.size(), 1u) << one_line;
  return table.faults.empty() ? "" : table.faults.front();
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

DigestTable table_of(const std::string& lines) {
  const ReadDigestTable table = read(lines);
  EXPECT_TRUE(table.faults.empty()) << table.faults.front();
  return table.table;
}

std::string replaced(std::string text, const std::string& what, const std::string& instead) {
  EXPECT_TRUE(holds(text, what)) << text;
  return text.replace(text.find(what), what.size(), instead);
}

TEST(DigestTable, IsReadAsItIsWritten) {
  DigestTable table{"nvrtc 13.0.88", {}};
  table.rows.push_back({kernel_text({default_constructed(Family::kPrefillMma), {}, 80}, "flashtune_prefill_mma"),
                        {kDigest, 65536, 255, 24, 48, 0, 98304}});
  table.rows.push_back({unfused_kernel_text(90, "flashtune_gemm_nt"), {kDigest, 640, 40, 0, 0, 512, 0}});
  const ReadDigestTable read = digest_table_from_text(digest_table_to_text(table));
  EXPECT_TRUE(read.faults.empty()) << read.faults.front();
  EXPECT_EQ(read.table.compiler, table.compiler);
  EXPECT_EQ(read.table.rows, table.rows);
  EXPECT_TRUE(differences(table, read.table).empty());
}

TEST(DigestTable, HoldsKernelsByWhatTheyAreAndNotByHowTheyWereWritten) {
  // Sizes that change no traits, and fields at their defaults, as a table has them that is older than a field.
  const DigestTable shorter = table_of(line());
  const std::string other_sizes = replaced(
      line(config_to_text(default_constructed(Family::kPrefillMma)).insert(0, "prefill_mma ")), "br=128", "br=64");
  const DigestTable longer = table_of(replaced(other_sizes, "h8 kv8 q1024", "h4 kv4 q512"));
  EXPECT_EQ(shorter.rows, longer.rows);
  EXPECT_TRUE(differences(shorter, longer).empty());
}

TEST(DigestTable, NamesTheLineThatCannotBeRead) {
  EXPECT_TRUE(holds(fault_of("anything"), "line 4: 1 parts"));
  EXPECT_TRUE(holds(fault_of(line("prefill_nma br=64")), "prefill_nma"));
  EXPECT_TRUE(holds(fault_of(line("prefill_mma brr=64")), "brr"));
  EXPECT_TRUE(holds(fault_of(replaced(line(), "prefill bf16", "prefill bf17")), "bf17"));
  EXPECT_TRUE(holds(fault_of(replaced(line(), "sm_90", "90")), "'90' is no architecture"));
  EXPECT_TRUE(holds(fault_of(replaced(line(), kDigest, "0123")), "'0123' is no digest"));
  EXPECT_TRUE(holds(fault_of(replaced(line(), "registers 168", "registers many")), "'many' is no number"));
  EXPECT_TRUE(holds(fault_of(replaced(line(), "registers 168", "registers -1")), "'-1' is no number"));
  EXPECT_TRUE(holds(fault_of(replaced(line(), "stack 8", "stuck 8")), "'stack N'"));
  EXPECT_TRUE(holds(fault_of(replaced(line(), ", dynamic 4096", "")), "are not all figures"));
  EXPECT_TRUE(holds(fault_of(line("prefill_mma br=32")), "stands there twice"));
}

TEST(DigestTable, WithoutKernelsIsAFault) {
  EXPECT_FALSE(digest_table_from_text("").faults.empty());
  EXPECT_FALSE(read("# nothing but a comment\n").faults.empty());
}

TEST(DigestTable, TellsOldAndNewFiguresOfAKernelThatChanged) {
  const DigestTable before = table_of(line());
  const DigestTable after =
      table_of(replaced(replaced(line(), "registers 168", "registers 170"), kDigest, std::string(32, 'f')));
  const std::vector<std::string> texts = differences(before, after);
  ASSERT_EQ(texts.size(), 1u);
  EXPECT_TRUE(holds(texts[0], "sm_90 | prefill bf16")) << texts[0];
  EXPECT_TRUE(holds(texts[0], fmt::format("changed: text 1024, registers 168 -> 170, stack 8, spills 16, static 0, "
                                          "dynamic 4096; digest {} -> {}",
                                          kDigest, std::string(32, 'f'))))
      << texts[0];
}

TEST(DigestTable, TellsOfCodeThatChangedWhereNoFigureDid) {
  const std::vector<std::string> texts =
      differences(table_of(line()), table_of(replaced(line(), kDigest, std::string(32, '0'))));
  ASSERT_EQ(texts.size(), 1u);
  EXPECT_TRUE(holds(texts[0], "registers 168, stack 8")) << texts[0];
  EXPECT_TRUE(holds(texts[0], "; digest ")) << texts[0];
}

TEST(DigestTable, TellsOfKernelsThatOneSideAloneHas) {
  const DigestTable one = table_of(line("prefill_mma br=32")), other = table_of(line());
  const std::vector<std::string> texts = differences(one, other);
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_TRUE(holds(texts[0], "br=64") && holds(texts[0], "not recorded (text 1024, registers 168")) << texts[0];
  EXPECT_TRUE(holds(texts[1], "br=32") && holds(texts[1], "no longer among")) << texts[1];
}

TEST(DigestTable, TellsOfAnotherCompiler) {
  DigestTable other = table_of(line());
  other.compiler = "nvrtc 9.9.9";
  const std::vector<std::string> texts = differences(table_of(line()), other);
  ASSERT_EQ(texts.size(), 1u);
  EXPECT_EQ(texts[0], "recorded with nvrtc 1.2.3, compiled with nvrtc 9.9.9");
}

}  // namespace
}  // namespace flashtune
