// The command where its standard streams are closed, full or gone, where a variable is unset, and where there is no
// home.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/cache_fixtures.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;
using testing::contains;

constexpr const char* kSmallRun = "run --device sim --heads 1 --seq-q 2 --head-dim 8";
constexpr const char* kFull = "/dev/full";  // a disk without room

class Streams : public ::testing::Test {
 protected:
  /// Runs a line of the shell in the home folder; $FT is the command.
  ProgramResult shell(const std::string& line) const {
    return run_program({"/bin/sh", "-c", "cd \"$HOME\"; " + line}, {{"HOME", home_.path()},
                                                                    {"PATH", "/usr/local/bin:/usr/bin:/bin"},
                                                                    {"LC_ALL", "C.UTF-8"},
                                                                    {"FT", FLASHTUNE_CLI},
                                                                    {"FLASHTUNE_DB", home_.path() / "tuning.db"}});
  }
  /// The same, the exit code of one run of the command.
  int code_of(const std::string& arguments, const std::string& redirected) const {
    return shell("exec \"$FT\" " + arguments + " " + redirected).exit_code;
  }
  /// A database of 74 answers, whose export is longer than what stdio holds back.
  void fill_database() const {
    const ProgramResult result =
        shell("exec \"$FT\" db import " FLASHTUNE_SOURCE_DIR "/benchmarks/tuned/h200-decode.json");
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  std::string read(const std::string& name) const { return testing::read_file(home_.path() / name); }

  ScratchFolder home_;
};

/// Descriptor 9 is a pipe that nobody reads, for the programs that are started while it lives.
class BrokenPipe {
 public:
  BrokenPipe() {
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error("no pipe");
    close(ends[0]);
    dup2(ends[1], 9);
    close(ends[1]);
  }
  ~BrokenPipe() { close(9); }
  BrokenPipe(const BrokenPipe&) = delete;
  BrokenPipe& operator=(const BrokenPipe&) = delete;
};

TEST_F(Streams, OutputThatCannotBeWrittenIsAFailure) {
  fill_database();
  ASSERT_EQ(code_of("db export tuned.json", ""), 0);
  std::vector<std::string> where = {">&-"};
  if (fs::exists(kFull)) where.push_back(std::string("> ") + kFull);
  for (const std::string& redirected : where)
    for (const std::string arguments :
         {"--help", "--version", "db --help", "sweep --help", "db info", "db export", "query", "query --format json",
          "query --format csv", "db check", "devices", "explain --arch sm_80 --heads 8 --seq-q 64 --head-dim 64",
          "db export /dev/stdout", "db import tuned.json", "db prune --arch sm_70"}) {
      EXPECT_EQ(code_of(arguments, redirected), 1) << arguments << redirected;
    }
  EXPECT_EQ(code_of(kSmallRun, ">&-"), 1);
  EXPECT_EQ(code_of("nonsense", ">&-"), 2) << "which prints nothing there";
  const ProgramResult told = shell("exec \"$FT\" query >&-");
  EXPECT_EQ(told.err, "flashtune: standard output could not be written: Bad file descriptor\n");
}

TEST_F(Streams, AReaderThatHasReadEnoughIsNoNews) {
  fill_database();
  const BrokenPipe pipe;
  for (const std::string arguments : {"query", "db export", "--help", "db info"}) {
    const ProgramResult quiet = shell("exec \"$FT\" " + arguments + " >&9");
    EXPECT_EQ(quiet.exit_code, 128 + SIGPIPE) << arguments;
    EXPECT_EQ(quiet.err, "") << arguments;
    const ProgramResult asked = shell("trap '' PIPE; exec \"$FT\" " + arguments + " >&9");
    EXPECT_EQ(asked.exit_code, 1) << arguments << ": its caller wants no signal";
    EXPECT_EQ(asked.err, "flashtune: standard output could not be written: Broken pipe\n");
  }
}

TEST_F(Streams, ASweepSaysThatItsReaderIsGoneAndKeepsItsRecords) {
  const std::string sweep = "sweep --arch sm_80 --effort quick --heads 1 --seq-q 64,128 --head-dim 64 ";
  const BrokenPipe pipe;
  for (const std::string format : {"json", "table"}) {
    // Where there is no C++ compiler it proves nothing, and takes no time for that.
    const ProgramResult result = shell("PATH=/nowhere exec \"$FT\" " + sweep + "--format " + format + " >&9");
    if (contains(result.err, "NVRTC")) GTEST_SKIP() << result.err;
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_TRUE(contains(result.err,
                         "flashtune sweep: standard output could not be written: Broken pipe. Stopped. Everything "
                         "finished is kept"))
        << result.err;
    EXPECT_EQ(result.err.find("could not be written"), result.err.rfind("could not be written")) << "it is said once";
  }
  EXPECT_TRUE(contains(shell("exec \"$FT\" query").out, "b1 h1 s64 d64 full bf16")) << "the first problem was answered";
}

TEST_F(Streams, AStandardErrorThatIsClosedFullOrGoneHurtsNobody) {
  fill_database();
  const BrokenPipe pipe;
  std::vector<std::string> where = {"2>&-", "2>&9"};
  if (fs::exists(kFull)) where.push_back(std::string("2> ") + kFull);
  for (const std::string& redirected : where) {
    EXPECT_EQ(code_of("nonsense", redirected), 2) << redirected;
    EXPECT_EQ(code_of("query --db nope.db", redirected), 1) << redirected;
    EXPECT_EQ(code_of("query --arch sm_70", redirected), 0) << redirected;
    EXPECT_EQ(code_of("query", redirected + " > /dev/null"), 0) << redirected;
    EXPECT_EQ(code_of(kSmallRun, redirected), 0) << redirected;
    EXPECT_EQ(code_of("sweep --arch sm_80 --missed nothing.txt", redirected), 1) << redirected;
    EXPECT_EQ(code_of("db export", redirected + " >&-"), 1) << redirected;
  }
  EXPECT_EQ(code_of("nonsense", "<&- >&- 2>&-"), 2);
}

TEST_F(Streams, ADatabaseIsNeverTheClosedStandardError) {
  fill_database();
  ASSERT_EQ(code_of("db export tuned.json", ""), 0);
  EXPECT_EQ(code_of("db import tuned.json --db other.db", "2>&-"), 0);
  EXPECT_EQ(code_of("query --arch sm_70 --db other.db", "2>&- <&-"), 0) << "which has a remark to make";
  EXPECT_EQ(shell("exec \"$FT\" db check --db other.db").out, "other.db: sound\n");
}

TEST_F(Streams, NamedOutputsStayWhatTheyAre) {
  fill_database();
  const std::string text = shell("exec \"$FT\" db export").out;
  ASSERT_EQ(shell("mkfifo fifo; echo old > target; chmod 600 target; ln -s target link").exit_code, 0);
  EXPECT_EQ(shell("cat fifo > got & \"$FT\" db export fifo; wait").exit_code, 0);
  EXPECT_EQ(read("got"), text);
  EXPECT_TRUE(fs::is_fifo(home_.path() / "fifo"));
  for (const std::string& arguments : {std::string("db export link"), kSmallRun + std::string(" --output link")}) {
    std::ofstream(home_.path() / "target") << "old";
    const ProgramResult result = shell("exec \"$FT\" " + arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_TRUE(fs::is_symlink(home_.path() / "link")) << arguments;
    EXPECT_NE(read("target"), "old") << arguments;
    EXPECT_EQ(fs::status(home_.path() / "target").permissions(), fs::perms(0600)) << arguments;
  }
  EXPECT_EQ(shell("exec 3> opened; echo before >&3; \"$FT\" db export /dev/fd/3; echo after >&3").exit_code, 0);
  EXPECT_EQ(read("opened"), "before\n" + text + "after\n");
  EXPECT_EQ(shell("exec \"$FT\" db export /dev/stdout").out, text);
}

TEST_F(Streams, TheDatabaseIsNoPlaceForItsExport) {
  fill_database();
  const std::string before = read("tuning.db");
  ASSERT_EQ(shell("ln -s tuning.db link").exit_code, 0);
  for (const std::string name : {"tuning.db", "link"}) {
    const ProgramResult result = shell("exec \"$FT\" db export " + name);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_TRUE(contains(result.err, "it is a database")) << result.err;
  }
  EXPECT_TRUE(read("tuning.db") == before);
}

TEST_F(Streams, AnUnfitOutputIsToldBeforeTheWork) {
  fill_database();
  ASSERT_EQ(shell("mkdir folder; ln -s loop loop; ln -s nowhere/made lost; echo old > file").exit_code, 0);
  const std::string before = testing::files_of(home_.path());
  // Each of these would take far longer than a test may, or fails later of itself.
  const std::pair<const char*, const char*> kWorks[] = {
      {"run --device sim --heads 32 --seq-q 16384 --head-dim 128 --output ", "tensors"},
      {"run --device sim --input no_such_file --output ", "tensors"},
      {"ladder --device sim --heads 32 --seq-q 16384 --head-dim 128 --chart ", "the chart"},
      {"db export --db no_such.db ", "the records"},
      {"db check --repair --db no_such.db --into ", "the damaged rows"},
  };
  for (const auto& [work, what] : kWorks)
    for (const std::string output :
         {"nowhere/o", "folder", "folder/", "loop", "lost", "file/o", "/proc/o", "/dev/fd/7"}) {
      const ProgramResult result = shell("exec timeout 20 \"$FT\" " + std::string(work) + output + " 7< file");
      EXPECT_EQ(result.exit_code, 1) << work << output;
      EXPECT_EQ(result.out, "") << work << output;
      EXPECT_TRUE(contains(result.err, "cannot write " + std::string(what) + " to " + output + ": ")) << result.err;
    }
  const ProgramResult unnamed =
      shell("cd /proc && exec timeout 20 \"$FT\" ladder --device sim --heads 32 --seq-q 16384 --head-dim 128");
  EXPECT_TRUE(contains(unnamed.err, "cannot write the chart to ladder.svg: ")) << unnamed.err;
  EXPECT_EQ(testing::files_of(home_.path()), before);
}

TEST_F(Streams, AWorkThatFailsLeavesTheFileOfItsOutput) {
  fill_database();
  for (const std::string work : {"run --device sim --input no_such_file --output file",
                                 "run --device sim --heads 1 --seq-q 2 --head-dim 8 --config bc=9999 --output file",
                                 "ladder --device sim --db no_such.db --heads 1 --seq-q 2 --head-dim 8 --chart file",
                                 "db export --db no_such.db file", "db check --repair --db no_such.db --into file"}) {
    ASSERT_EQ(shell("echo precious > file").exit_code, 0);
    EXPECT_NE(code_of(work, ""), 0) << work;
    EXPECT_EQ(read("file"), "precious\n") << work;
    EXPECT_FALSE(contains(testing::files_of(home_.path()), ".tmp")) << work;
  }
}

TEST_F(Streams, AnUnsetVariableIsNotTheDefault) {
  fill_database();
  const std::string before = shell("exec \"$FT\" query").out;
  for (const std::string arguments :
       {"db prune --arch sm_90 --db \"$UNSET\"", "db prune --arch sm_90 --db=$UNSET", "db prune --db= --arch sm_90",
        "db prune --arch sm_90 --device \"$UNSET\"", "db prune --arch sm_90 --db $UNSET", "db export \"$UNSET\"",
        "db import \"$UNSET\"", "db merge \"$UNSET\"", "db export --db $UNSET --best", "sweep --suite \"$UNSET\"",
        "sweep --missed \"$UNSET\"", "sweep --cubin-cache \"$UNSET\"", "sweep --template-root \"$UNSET\"",
        "run --input \"$UNSET\"", "run --output \"$UNSET\" --heads 1 --seq-q 2 --head-dim 8", "query --db \"$UNSET\"",
        "explain --db \"$UNSET\" --heads 1 --seq-q 2 --head-dim 8", "ladder --db \"$UNSET\"", "db info \"$UNSET\""}) {
    const ProgramResult result = shell("exec \"$FT\" " + arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
  }
  EXPECT_EQ(shell("exec \"$FT\" db prune --arch sm_90 --db \"$UNSET\"").err,
            "flashtune db prune: --db '': the value is empty (is a variable unset?); give one, or leave --db out\n"
            "Try 'flashtune db prune --help'.\n");
  EXPECT_EQ(shell("exec \"$FT\" query").out, before);
}

TEST_F(Streams, AnEmptyVariableOfTheEnvironmentIsNotSet) {
  const ProgramResult result =
      shell("FLASHTUNE_DB= exec \"$FT\" explain --arch sm_80 --heads 1 --seq-q 2 --head-dim 8");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "/.local/share/flashtune/tuning.db (not there yet)")) << result.out;
}

TEST_F(Streams, WithoutAHomeTheCommandGoesOnWhereNothingMustBeKept) {
  const auto homeless = [&](const std::string& arguments) {
    return shell("unset HOME FLASHTUNE_DB; exec \"$FT\" " + arguments);
  };
  const ProgramResult run = homeless(kSmallRun);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const std::string remark = "Compiled kernels are not kept: neither HOME nor XDG_CACHE_HOME is set.";
  EXPECT_TRUE(contains(run.err, remark)) << run.err;
  EXPECT_EQ(run.err.find(remark), run.err.rfind(remark)) << "it is said once";
  EXPECT_FALSE(contains(homeless(kSmallRun + std::string(" --cubin-cache kept")).err, "not kept"));
  const ProgramResult explain = homeless("explain --arch sm_80 --heads 1 --seq-q 2 --head-dim 8");
  EXPECT_EQ(explain.exit_code, 0) << explain.err;
  EXPECT_TRUE(contains(explain.out, "none (neither HOME nor XDG_DATA_HOME is set)")) << explain.out;
  for (const std::string arguments : {"query", "db info", "db prune --arch sm_90", "sweep --arch sm_80"}) {
    const ProgramResult result = homeless(arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_TRUE(contains(result.err, "neither HOME nor XDG_DATA_HOME is set; name one by --db PATH")) << result.err;
  }
  for (const std::string& name : home_.contents()) EXPECT_TRUE(name.starts_with("kept")) << name;
}

}  // namespace
}  // namespace flashtune
