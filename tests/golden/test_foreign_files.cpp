// Files of strangers and places that are not what they should be, from outside: the command ends by itself, with exit
// code 1 or 2 and a text of its own, never a library's. Nothing here needs a GPU.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cache/plain_text.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

using Arguments = std::vector<std::string>;

/// What exceptions of libraries say of themselves.
constexpr const char* kRaw[] = {"filesystem error", "json.exception", "_M_",       "basic_string",
                                "std::bad",         "map::at",        "stoi",      "bad_alloc",
                                "terminate",        "Sanitizer",      "std::get:", "Could not convert"};

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

class ForeignFiles : public testing::Test {
 protected:
  ProgramResult run(const Arguments& arguments) const {
    Arguments all = {FLASHTUNE_CLI};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_program(all, environment());
  }

  std::map<std::string, std::string> environment() const {
    return {{"HOME", home_.path()}, {"PATH", "/usr/bin:/bin"}, {"LC_ALL", "C.UTF-8"}};
  }

  std::string write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path path = home_.path() / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  /// Fails in its own words, which it returns.
  static std::string expect_own_words(const ProgramResult& result) {
    EXPECT_TRUE(result.exit_code == 1 || result.exit_code == 2) << result.exit_code << result.err;
    for (const char* raw : kRaw) EXPECT_EQ(result.err.find(raw), std::string::npos) << raw << ": " << result.err;
    EXPECT_NE(result.err.find("flashtune"), std::string::npos) << result.err;
    EXPECT_EQ(result.err, printable_lines(result.err)) << "a terminal would obey it";
    EXPECT_LT(result.err.size(), 12000u);  // twice a path of 5000 bytes
    return result.err;
  }
  std::string refusal(const Arguments& arguments) const { return expect_own_words(run(arguments)); }

  Arguments input(const std::string& path) const { return {"run", "--device", "sim", "--input", path}; }

  ScratchFolder home_;
};

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(ForeignFiles, JsonOfAnyDepthIsRefused) {
  const std::string deep = repeated("{\"a\":", 100000) + "1" + repeated("}", 100000);
  const std::string lists = repeated("[", 100000);
  const auto header = [](std::string text) {
    std::string length;
    for (int i = 0; i < 8; ++i) length += static_cast<char>(text.size() >> (8 * i) & 0xffu);
    return length + text;
  };
  for (const std::string& json : {"{\"format\":\"flashtune\",\"version\":" + deep + "}", deep, lists,
                                  "{\"format\":\"flashtune\",\"version\":1,\"trials\":[" + deep + "],\"bests\":[]}",
                                  "[{\"heads\":" + deep + "}]"}) {
    EXPECT_TRUE(holds(refusal({"db", "import", write("j.json", json)}), "levels deep"));
    EXPECT_TRUE(holds(refusal({"sweep", "--arch", "sm_80", "--suite", write("j.json", json)}), "levels deep"));
  }
  EXPECT_TRUE(holds(refusal(input(write("t", header(deep)))), "levels deep"));
  EXPECT_TRUE(holds(refusal(input(write("t", header("{\"__metadata__\":" + deep + "}")))), "levels deep"));
}

TEST_F(ForeignFiles, JsonThatNoOtherProgramWroteIsRefusedInOurWords) {
  for (const std::string& json :
       {std::string(), std::string("\0", 1), std::string("\xff"), std::string("1e999"), std::string("[1e999]"),
        std::string("{\"format\":1e999}"), std::string("{\"format\":\"\xff\"}"), std::string("NaN"),
        std::string("{\"format\":\"flashtune\",\"format\":\"flashtune\",\"version\":1,\"trials\":[],\"bests\":[]}"),
        std::string("{\"format\":\"flashtune\",\"version\":\"\\u001b[31m\",\"trials\":[],\"bests\":[]}"),
        "{\"format\":\"flashtune\",\"version\":\"" + std::string(1000000, 'v') + "\",\"trials\":[],\"bests\":[]}",
        std::string("[{\"heads\":\"\\u001b[31m\",\"seq_q\":1,\"head_dim\":8}]"),
        std::string("[{\"heads\":99999999999999999999,\"seq_q\":1,\"head_dim\":8}]"),
        std::string("[{\"heads\":2147483647,\"seq_q\":2147483647,\"head_dim\":2147483647}]"),
        "[{\"" + std::string(1000000, 'k') + "\":1}]"}) {
    refusal({"db", "import", write("j.json", json)});
    refusal({"sweep", "--arch", "sm_80", "--suite", write("j.json", json)});
  }
}

TEST_F(ForeignFiles, MissedProblemsOfAnyBytesAreRefusedInOurWords) {
  for (const std::string& text :
       {std::string("\x1b]0;title\x07"), std::string(1000000, 'x'), std::string("prefill bf16 b1 \x1b[31m"),
        std::string("prefill bf16 b2147483647 h2147483647 kv2147483647 q2147483647 k2147483647 d2147483647 "
                    "dv2147483647 full w0 bshd"),
        std::string("prefill bf16 b99999999999999999999 h1")})
    refusal({"sweep", "--arch", "sm_80", "--missed", write("m.txt", text)});
}

TEST_F(ForeignFiles, PlacesThatAreNoFileAreRefusedInOurWords) {
  std::filesystem::create_symlink("loop", home_.path() / "loop");
  std::filesystem::create_directory(home_.path() / "folder");
  const std::string problem_flags[] = {"--heads", "1", "--seq-q", "2", "--head-dim", "8"};
  const auto with_problem = [&](Arguments line) {
    line.insert(line.end(), std::begin(problem_flags), std::end(problem_flags));
    return line;
  };
  for (const std::string& name : {std::string("loop"), std::string("folder"), std::string(5000, 'a'),
                                  std::string("no/where"), std::string("\x1b[31m")}) {
    const std::string place = home_.path() / name;
    for (const char* command : {"import", "merge"}) refusal({"db", command, place});
    for (const char* command : {"info", "check", "export"}) refusal({"db", command, "--db", place});
    refusal({"query", "--db", place});
    refusal({"db", "prune", "--arch", "sm_80", "--db", place});
    refusal(with_problem({"explain", "--arch", "sm_80", "--db", place}));
    refusal({"sweep", "--arch", "sm_80", "--suite", place + ".json"});
    refusal({"sweep", "--arch", "sm_80", "--missed", place});
    refusal(input(place));
    refusal(with_problem({"run", "--device", "sim", "--template-root", place}));
  }
}

TEST_F(ForeignFiles, APipeNobodyWritesIntoHoldsUpNoInput) {
  const std::string pipe = home_.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(holds(refusal(input(pipe)), "this is a pipe"));
}

TEST_F(ForeignFiles, ACurrentFolderThatIsGoneIsSaid) {
  for (const std::string& line : {std::string("db import x.json"), std::string("query --db x.db"),
                                  std::string("db merge x.db"), std::string("run --device sim --input x"),
                                  std::string("sweep --arch sm_80 --heads 1 --seq-q 2 --head-dim 8 --db x.db")})
    expect_own_words(
        run_program({"/bin/sh", "-c", "cd \"$HOME\" && mkdir gone && cd gone && rmdir ../gone && exec \"$0\" " + line,
                     FLASHTUNE_CLI},
                    environment()));
}

TEST_F(ForeignFiles, FlagsThatTheParserRefusesAreRefusedInOurWords) {
  for (const Arguments& line :
       std::vector<Arguments>{{"db", "import"},
                              {"run", "--check=maybe"},
                              {"run", "--untuned=2x"},
                              {"query", "--", "x"},
                              {"\x1b[31m"},
                              {"query", "\x1b[31m"},
                              {"query", "--\x1b[31m"},
                              {std::string(100000, 'c')},
                              {"sweep", "--budget", std::string(100000, '9')},
                              {"run", "--heads", "\x1b[31m", "--seq-q", "1", "--head-dim", "8"}})
    EXPECT_EQ(run(line).exit_code, 2) << refusal(line);
}

/// A safetensors file of q, k and v, each 8 numbers of fp32; `change` may spoil its header, `tail` follows its data.
std::string tensors(const std::function<void(std::string&)>& change, const std::string& tail = "") {
  nlohmann::ordered_json header;
  for (int i = 0; i < 3; ++i)
    header[std::string(1, "qkv"[i])] = {
        {"dtype", "F32"}, {"shape", {1, 1, 1, 8}}, {"data_offsets", {32 * i, 32 * i + 32}}};
  std::string text = header.dump();
  change(text);
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(text.size() >> (8 * i) & 0xffu);
  return file + text + std::string(96, '\0') + tail;
}

void replace(std::string& text, const std::string& what, const std::string& by) {
  text.replace(text.find(what), what.size(), by);
}

TEST_F(ForeignFiles, TensorsThatTheFormatForbidsAreRefused) {
  const auto whole = [](std::string&) {};
  EXPECT_EQ(run(input(write("t", tensors(whole)))).exit_code, 0);
  EXPECT_TRUE(holds(refusal(input(write("t", tensors([](std::string& t) { replace(t, "[32,64]", "[0,32]"); })))),
                    "overlaps one that ends at 32"));
  EXPECT_TRUE(holds(refusal(input(write("t", tensors(whole, "junk")))), "4 bytes of the data come after"));
  EXPECT_TRUE(holds(refusal(input(write("t", tensors([](std::string& t) {
                                          t.insert(1,
                                                   R"("q":{"dtype":"F32","shape":[1,1,1,8],"data_offsets":[32,64]},)");
                                        })))),
                    "it says 'q' twice"));
  EXPECT_TRUE(holds(refusal(input(write("t", tensors([](std::string& t) { t.insert(0, " "); })))), "begins with ' '"));
}

}  // namespace
}  // namespace flashtune
