// Missed problems, from an engine's file to a sweep's list.
#include "tuner/suites/missed_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/keys.h"
#include "runtime/dispatch/missed.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

const DeviceKey kDevice{"NVIDIA H200", 132, 90};
constexpr const char* kPrefill = "prefill bf16 b4 h32 kv8 q4096 k4096 d128 dv128 causal w0 bshd";
constexpr const char* kDecode = "decode fp16 b16 h32 kv8 q1 k8192 d128 dv128 full w0 bhsd page64";

std::vector<Problem> both() { return {problem_from_text(kPrefill), problem_from_text(kDecode)}; }

/// The message of the Error that `body` throws.
template <class Body>
std::string refusal(ErrorKind kind, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

std::string why_not(const std::string& text) {
  return refusal(ErrorKind::kInvalidArgument, [&] { parse_missed(text, "m.txt"); });
}

TEST(MissedFile, HoldsALineForEachProblemUnderOneForPeople) {
  EXPECT_EQ(missed_text(kDevice, both()),
            "# Asked for and not measured on NVIDIA H200/132/sm_90; `flashtune sweep --missed FILE` measures them.\n" +
                std::string(kPrefill) + "\n" + kDecode + "\n");
}

TEST(MissedFile, BringsTheProblemsBack) {
  const ScratchFolder folder;
  const std::string path = folder.path() / "missed.txt";
  write_missed(path, kDevice, both());
  EXPECT_EQ(read_missed_file(path), both());
  write_missed(path, kDevice, {});
  EXPECT_EQ(read_missed_file(path), std::vector<Problem>{}) << "the file is replaced";
  EXPECT_EQ(folder.contents().size(), 1u) << "nothing is left beside it";
}

TEST(MissedFile, LaysOutAsASweepWouldWhatHasStridesOfItsOwn) {
  Problem strided = problem_from_text(kPrefill);
  strided.q.row += 8;
  const std::vector<Problem> missed = {bucket_of(strided), problem_from_text(kPrefill)};
  ASSERT_EQ(layout_of(missed[0]), Layout::kStrided);
  EXPECT_EQ(parse_missed(missed_text(kDevice, missed), "m.txt"), std::vector<Problem>{problem_from_text(kPrefill)})
      << "once, and as bshd";
}

TEST(MissedFile, MayBeEditedByPeople) {
  EXPECT_EQ(parse_missed("\n# mine\r\n" + std::string(kPrefill) + "\r\n\n" + kDecode + "\n" + kPrefill, "m.txt"),
            both());
  EXPECT_TRUE(parse_missed("", "m.txt").empty());
}

TEST(MissedFile, IsRefusedByLineAndReason) {
  const std::string good = std::string(kPrefill) + "\n";
  EXPECT_EQ(why_not(good + "hello"),
            "missed problems m.txt: line 2: unknown op 'hello'; it is one of prefill, decode, append");
  EXPECT_EQ(why_not("# it\n\n" + good + "prefill bf16 4"),
            "missed problems m.txt: line 4: problem 'prefill bf16 4': expected bN where '4' stands");
  const auto line_1 = [](const std::string& problem, const std::string& why) {
    EXPECT_EQ(why_not(problem), "missed problems m.txt: line 1: problem '" + problem + "': " + why);
  };
  line_1("prefill bf16 b4 h32 kv5 q64 k64 d128 dv128 full w0 bshd", "heads must be a multiple of kv-heads");
  line_1("append bf16 b4 h32 kv8 q1 k64 d128 dv128 full w0 bshd", "op append, of which nothing is tuned");
  line_1("prefill bf16 b4 h32 kv8 q32 k64 d128 dv128 full w0 packed",
         "layout packed, and one QKV tensor is of prefill, with as many keys as queries");
  line_1("prefill bf16 b1 h1 kv1 q64 k64 d64 dv64 full w0 strided q:8,8,8 k:8,8,8 v:8,8,8 o:8,8,8",
         "layout strided, and a sweep lays tensors out as bshd, bhsd or packed");
}

TEST(MissedFile, IsNoPlaceForLongLines) {
  EXPECT_EQ(why_not(std::string(1000000, 'x')),
            "missed problems m.txt: line 1: it has 1000000 bytes, and no problem is that long");
}

TEST(MissedFile, OfAHundredThousandLinesIsReadAtOnce) {
  std::string text;
  for (int i = 0; i < 100000; ++i)
    text += "prefill bf16 b1 h1 kv1 q" + std::to_string(1 + i / 2) + " k64 d64 dv64 full w0 bshd\n";
  EXPECT_EQ(parse_missed(text, "m.txt").size(), 50000u);
}

TEST(MissedFile, ThatCannotBeReadOrWrittenSaysSo) {
  EXPECT_EQ(refusal(ErrorKind::kNotFound, [] { read_missed_file("/nowhere/m.txt"); }),
            "/nowhere/m.txt: there is no such file");
  EXPECT_EQ(refusal(ErrorKind::kIo, [] { read_missed_file("/"); }),
            "/: this is a folder, and cannot be read; name a file");
  EXPECT_EQ(refusal(ErrorKind::kIo, [] { write_missed("/nowhere/m.txt", kDevice, {}); }),
            "cannot write the missed problems to /nowhere/m.txt: No such file or directory; name a file in a folder "
            "that can be written and has room");
}

TEST(MissedFile, ThatCannotBeReplacedStaysAsItWas) {
  const ScratchFolder folder;
  std::filesystem::create_directories(folder.path() / "taken" / "by a folder");
  refusal(ErrorKind::kIo, [&] { write_missed(folder.path() / "taken", kDevice, both()); });
  EXPECT_TRUE(std::filesystem::is_directory(folder.path() / "taken" / "by a folder"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "nothing is left beside it";
}

}  // namespace
}  // namespace flashtune
