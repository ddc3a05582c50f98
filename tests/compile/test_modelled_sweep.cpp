// flashtune sweep, query and explain from outside, on a machine without a GPU: compiles, ranks by the cost model,
// remembers.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/run_program.h"

namespace flashtune {
namespace {

using Json = nlohmann::json;

class ModelledSweep : public testing::Test {
 protected:
  std::vector<std::string> command(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), FLASHTUNE_CLI);
    return arguments;
  }
  std::vector<std::string> sweep(const std::string& format) const {
    return command({"sweep", "--arch", "sm_80", "--heads", "4", "--seq-q", "512", "--head-dim", "64", "--effort",
                    "quick", "--compile-threads", "1", "--format", format});
  }
  std::map<std::string, std::string> environment() const {
    std::map<std::string, std::string> variables = {{"HOME", home_.path()}, {"PATH", "/usr/bin:/bin"}};
    for (const char* name : {"CUDA_HOME", "CUDA_PATH", "LD_LIBRARY_PATH"})
      if (const char* value = std::getenv(name)) variables[name] = value;
    return variables;
  }
  ProgramResult run(const std::vector<std::string>& line) const { return run_program(line, environment()); }

  static std::vector<Json> events(const std::string& lines, const std::string& kind) {
    std::vector<Json> found;
    std::istringstream in(lines);
    for (std::string line; std::getline(in, line);)
      if (Json event = Json::parse(line, nullptr, false); !event.is_discarded() && event.at("event") == kind)
        found.push_back(event);
    return found;
  }

  ScratchFolder home_;
};

TEST_F(ModelledSweep, IsRememberedQueriedAndExplained) {
  const ProgramResult swept = run(sweep("json"));
  ASSERT_EQ(swept.exit_code, 0) << swept.err;
  const auto done = events(swept.out, "problem_done");
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].at("best").at("grade"), "modelled");

  const ProgramResult queried = run(command({"query", "--format", "json"}));
  ASSERT_EQ(queried.exit_code, 0) << queried.err;
  const Json rows = Json::parse(queried.out);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].at("grade"), "modelled");
  EXPECT_EQ(rows[0].at("driver"), "");

  const ProgramResult explained = run(command(
      {"explain", "--arch", "sm_80", "--heads", "4", "--seq-q", "512", "--head-dim", "64", "--format", "json"}));
  ASSERT_EQ(explained.exit_code, 0) << explained.err;
  EXPECT_EQ(Json::parse(explained.out).at("grade"), "modelled");
  EXPECT_EQ(Json::parse(explained.out).at("candidate"), rows[0].at("candidate"));

  EXPECT_EQ(run(command({"db", "check"})).exit_code, 0);
}

TEST_F(ModelledSweep, OfMissedProblemsTakesThoseOfTheFile) {
  const std::string file = home_.path() / "missed.txt";
  std::ofstream(file) << "# by a program\ndecode fp16 b2 h8 kv2 q1 k640 d64 dv64 full w0 bshd page16\n";
  const ProgramResult swept = run(command({"sweep", "--arch", "sm_80", "--missed", file, "--effort", "quick",
                                           "--compile-threads", "1", "--format", "json"}));
  ASSERT_EQ(swept.exit_code, 0) << swept.err;
  const auto done = events(swept.out, "problem_done");
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].at("problem").at("op"), "decode");
  EXPECT_EQ(done[0].at("problem").at("seq_kv"), 640);
  EXPECT_EQ(done[0].at("problem").at("page_size"), 16);
}

TEST_F(ModelledSweep, DoesNothingTwice) {
  ASSERT_EQ(run(sweep("json")).exit_code, 0);
  const ProgramResult second = run(sweep("json"));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  const auto trials = events(second.out, "trial");
  ASSERT_FALSE(trials.empty());
  for (const Json& trial : trials) EXPECT_TRUE(trial.at("known").get<bool>()) << trial;
}

TEST_F(ModelledSweep, KilledAtAnyMomentLosesAtMostTheTrialInFlight) {
  const ProgramResult killed = run_program_until(sweep("json"), environment(), "\"done\":3", SIGKILL);
  ASSERT_EQ(killed.exit_code, 128 + SIGKILL) << killed.err;
  const auto before = events(killed.out, "trial");
  const ProgramResult resumed = run(sweep("json"));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  std::size_t known = 0;
  for (const Json& trial : events(resumed.out, "trial")) known += trial.at("known").get<bool>();
  EXPECT_GE(known, before.size());
  EXPECT_EQ(run(command({"db", "check"})).exit_code, 0);
}

TEST_F(ModelledSweep, StoppedByCtrlCSaysThatItGoesOn) {
  const ProgramResult stopped = run_program_until(sweep("json"), environment(), "\"done\":1", SIGINT);
  EXPECT_EQ(stopped.exit_code, 1) << stopped.err;
  EXPECT_NE(stopped.err.find("goes on from here"), std::string::npos) << stopped.err;
}

TEST_F(ModelledSweep, ShowsARankedTable) {
  const ProgramResult result = run(sweep("table"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("vs default"), std::string::npos) << result.out;
  EXPECT_NE(result.err.find("Modelling A100"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find('\r'), std::string::npos) << "a bar was drawn where there is no terminal";
}

TEST_F(ModelledSweep, ExportsWhatAnotherDatabaseImports) {
  ASSERT_EQ(run(sweep("json")).exit_code, 0);
  const std::string file = home_.path() / "export.json", other = home_.path() / "other.db";
  ASSERT_EQ(run(command({"db", "export", file})).exit_code, 0);
  ASSERT_EQ(run(command({"db", "import", file, "--db", other})).exit_code, 0);
  EXPECT_EQ(run(command({"query", "--trials", "--format", "csv", "--db", other})).out,
            run(command({"query", "--trials", "--format", "csv"})).out);
  const ProgramResult pruned = run(command({"db", "prune", "--arch", "sm_80", "--db", other}));
  EXPECT_EQ(pruned.exit_code, 0) << pruned.err;
  EXPECT_EQ(Json::parse(run(command({"query", "--format", "json", "--db", other})).out).size(), 0u);
}

}  // namespace
}  // namespace flashtune
