// Words of a command line that are no values, though they stand where one should.
#include "tuner/cli/command_line.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

namespace flashtune {
namespace {

using Words = std::vector<std::string>;

Words words(std::vector<const char*> line) {
  line.insert(line.begin(), "program");
  return words_of(static_cast<int>(line.size()), line.data());
}

/// What is wrong with the values of "program work ...", whose every flag but --mask takes one.
std::string fault(const std::vector<const char*>& line) {
  CLI::App program("", "program");
  CLI::App* work = program.add_subcommand("work");
  std::string db, chart, file, needed, mask;
  work->add_option("--db", db);
  work->add_option("--chart", chart);
  work->add_option("--needed", needed)->required();
  work->add_flag("--mask", mask);
  work->add_option("FILE", file);
  std::vector<const char*> all = {"work", "--needed", "5"};
  all.insert(all.end(), line.begin(), line.end());
  Words parsed = words(all);
  std::reverse(parsed.begin(), parsed.end());
  program.parse(std::move(parsed));
  return fault_of_values(program);
}

TEST(CommandLineWords, KeepAnEmptyValueBesideItsFlag) {
  EXPECT_EQ(words({"db", "--db=", "x"}), (Words{"db", "--db", "", "x"}));
  EXPECT_EQ(words({"--db=x", "-x=", "=", "a=", ""}), (Words{"--db=x", "-x=", "=", "a=", ""}));
  EXPECT_EQ(words({"--config=br=", "--", "--db="}), (Words{"--config=br=", "--", "--db="}));
  EXPECT_EQ(words_of(0, nullptr), Words());
}

TEST(CommandLineValues, MayNotBeEmpty) {
  EXPECT_EQ(fault({"--db", ""}), "--db '': the value is empty (is a variable unset?); give one, or leave --db out");
  EXPECT_EQ(fault({"--db="}), fault({"--db", ""}));
  EXPECT_EQ(fault({""}), "FILE '': the value is empty (is a variable unset?); give one, or leave FILE out");
  EXPECT_EQ(fault({"--db=", "file"}), fault({"--db", ""})) << "the next word is no value";
}

TEST(CommandLineValues, OfRequiredFlagsCannotBeLeftOut) {
  CLI::App program("", "program");
  std::string file;
  program.add_option("FILE", file)->required();
  program.parse(Words{""});
  EXPECT_EQ(fault_of_values(program), "FILE '': the value is empty (is a variable unset?); give one");
}

TEST(CommandLineValues, AreNoFlags) {
  EXPECT_EQ(fault({"--db", "--chart"}), "--db --chart: this is a flag, and --db takes a value (is a variable unset?)");
}

TEST(CommandLineValues, AreAllRightOtherwise) {
  EXPECT_EQ(fault({"--db", "x", "file"}), "");
  EXPECT_EQ(fault({"--db", "-1", "-"}), "");
  EXPECT_EQ(fault({"--mask"}), "") << "which takes none";
  EXPECT_EQ(fault({"--chart", ""}), "") << "whose help says what '' means";
}

}  // namespace
}  // namespace flashtune
