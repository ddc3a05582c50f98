// Safetensors files: round trips, real files' quirks, and every way in which one can be broken.
#include "tuner/tensors/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "cache/error.h"
#include "tuner/tensors/qkv_file.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

class SafetensorsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("flashtune_safetensors_" + std::to_string(getpid()));
    fs::create_directories(folder);
    path = folder / "file.safetensors";
  }
  void TearDown() override { fs::remove_all(folder); }

  /// A file with that header and that many bytes of data; `length` as the first eight bytes, by default the right one.
  void write_raw(const std::string& header, std::size_t data_bytes, std::uint64_t length) const {
    std::ofstream file(path, std::ios::binary);
    for (int i = 0; i < 8; ++i) file.put(static_cast<char>(length >> (8 * i) & 0xffu));
    file << header << std::string(data_bytes, 'x');
  }
  void write_raw(const std::string& header, std::size_t data_bytes) const {
    write_raw(header, data_bytes, header.size());
  }

  void expect_refused(const std::string& telling) const {
    try {
      index_safetensors(path);
      FAIL() << "no error; wanted: " << telling;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kIo);
      EXPECT_NE(std::string(error.what()).find(telling), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    }
  }

  fs::path folder, path;
};

HostTensor tensor(const std::string& dtype, const std::vector<std::int64_t>& shape,
                  const std::vector<std::uint8_t>& bytes) {
  HostTensor t{dtype, shape, std::vector<std::byte>(bytes.size())};
  std::transform(bytes.begin(), bytes.end(), t.bytes.begin(), [](std::uint8_t byte) { return std::byte{byte}; });
  return t;
}

TEST_F(SafetensorsTest, WhatIsWrittenIsReadBack) {
  write_safetensors(path,
                    {{"a", tensor("F16", {1, 2}, {1, 2, 3, 4})},
                     {"b", tensor("F32", {}, {5, 6, 7, 8})},
                     {"c", tensor("BF16", {0, 3}, {})}},
                    {{"made by", "a test"}});
  const SafetensorsIndex index = index_safetensors(path);
  EXPECT_EQ(index.tensors.size(), 3u);
  EXPECT_EQ(index.metadata.at("made by"), "a test");
  EXPECT_EQ(read_tensor(index, "a").bytes, tensor("", {}, {1, 2, 3, 4}).bytes);
  EXPECT_EQ(read_tensor(index, "a").shape, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(read_tensor(index, "b").bytes, tensor("", {}, {5, 6, 7, 8}).bytes);
  EXPECT_EQ(read_tensor(index, "b").dtype, "F32");
  EXPECT_TRUE(read_tensor(index, "c").bytes.empty());
  EXPECT_EQ(index.tensors.at("a").begin % 8, 0u);  // the data is aligned
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1) << "nothing is left beside it";
}

TEST_F(SafetensorsTest, PaddedHeadersUnknownDtypesAndOtherTensorsAreFine) {
  write_raw(R"({"x":{"dtype":"F8_NEW","shape":[3],"data_offsets":[0,3]},)"
            R"("y":{"dtype":"I64","shape":[1],"data_offsets":[3,11]}}      )",
            11);
  const SafetensorsIndex index = index_safetensors(path);
  EXPECT_EQ(read_tensor(index, "y").bytes.size(), 8u);
  EXPECT_EQ(index.tensors.at("x").dtype, "F8_NEW");
}

TEST_F(SafetensorsTest, AMissingFileAndAFolderSaySo) {
  EXPECT_THROW(index_safetensors(folder / "none"), Error);
  EXPECT_THROW(index_safetensors(folder), Error);
}

TEST_F(SafetensorsTest, APipeIsRefusedWithoutWaitingForWhoMightWriteIntoIt) {
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_THROW(index_safetensors(path), Error);
}

TEST_F(SafetensorsTest, BrokenFilesAreRefusedWithTheReason) {
  std::ofstream(path) << "abc";
  expect_refused("too few");
  write_raw("{}", 0, 3);
  expect_refused("claims 3 bytes");
  write_raw("{}", 0, ~std::uint64_t{0});
  expect_refused("claims");
  write_raw("{\"a\":", 8);
  expect_refused("not whole JSON");
  write_raw("[1,2]", 8);
  expect_refused("begins with '['");
  write_raw("", 8);
  expect_refused("begins with ''");
  write_raw(" {}", 0);
  expect_refused("begins with ' '");
  write_raw("{}", 0, 100'000'001);
  expect_refused("claims 100000001 bytes and the file has 10; the format allows 100,000,000");
  write_raw(R"({"a":{"shape":[2],"data_offsets":[0,4]}})", 4);
  expect_refused("tensor 'a' has no dtype");
  write_raw(R"({"a":7})", 4);
  expect_refused("tensor 'a' has no dtype");
  write_raw(R"({"a":{"dtype":"F16","shape":[-2],"data_offsets":[0,4]}})", 4);
  expect_refused("not a whole number");
  write_raw(R"({"a":{"dtype":"F16","shape":[2.5],"data_offsets":[0,4]}})", 4);
  expect_refused("not a whole number");
  write_raw(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0]}})", 4);
  expect_refused("not two numbers");
  write_raw(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", 3);
  expect_refused("truncated");
  write_raw(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[4,0]}})", 4);
  expect_refused("tensor 'a' lies at bytes 4 to 0");
  write_raw(R"({"a":{"dtype":"F16","shape":[3],"data_offsets":[0,4]}})", 4);
  expect_refused("does not fill its 4 bytes");
  write_raw(R"({"a":{"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 4);
  expect_refused("does not fill");
  write_raw(R"({"__metadata__":3})", 0);
  expect_refused("its __metadata__ is 3");
  write_raw(R"({"__metadata__":{"made by":["a","b"]}})", 0);
  expect_refused("__metadata__ says 'made by' is a list of 2");
  write_raw(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", 1);
  expect_refused("does not fill its 1 bytes");
}

/// A header of tensors of bytes: name, begin, end.
std::string header_of(const std::vector<std::tuple<std::string, int, int>>& tensors) {
  std::string header = "{";
  for (const auto& [name, begin, end] : tensors)
    header += (header.size() > 1 ? "," : "") + ("\"" + name) + R"(":{"dtype":"U8","shape":[)" +
              std::to_string(end - begin) + R"(],"data_offsets":[)" + std::to_string(begin) + "," +
              std::to_string(end) + "]}";
  return header + "}";
}

TEST_F(SafetensorsTest, TensorsFillTheDataWithoutHolesOrOverlaps) {
  write_raw(header_of({{"b", 4, 8}, {"z", 4, 4}, {"a", 0, 4}, {"c", 8, 8}}), 8);  // in any order, empty ones anywhere
  EXPECT_EQ(index_safetensors(path).tensors.size(), 4u);
  write_raw(header_of({{"a", 0, 4}, {"b", 0, 4}}), 4);
  expect_refused("tensor 'b' at bytes 0 to 4 of the data overlaps one that ends at 4");
  write_raw(header_of({{"a", 0, 5}, {"b", 4, 8}}), 8);
  expect_refused("overlaps");
  write_raw(header_of({{"a", 0, 8}, {"b", 2, 2}}), 8);
  expect_refused("overlaps");
  write_raw(header_of({{"a", 0, 4}, {"b", 5, 8}}), 8);
  expect_refused("no tensor holds bytes 4 to 5 of the data, before tensor 'b'");
  write_raw(header_of({{"a", 1, 4}}), 4);
  expect_refused("no tensor holds bytes 0 to 1");
  write_raw(header_of({{"a", 0, 4}}), 6);
  expect_refused("2 bytes of the data come after the last tensor");
  write_raw("{}", 1);
  expect_refused("1 bytes of the data come after");
  write_raw("{}", 0);
  EXPECT_TRUE(index_safetensors(path).tensors.empty());
}

TEST_F(SafetensorsTest, ANameThatStandsTwiceIsRefused) {
  write_raw(header_of({{"a", 0, 4}, {"a", 4, 8}}), 8);
  expect_refused("it says 'a' twice");
  write_raw(R"({"__metadata__":{"k":"1","k":"2"}})", 0);
  expect_refused("it says '__metadata__.k' twice");
  write_raw(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0);
  expect_refused("it says 'a.dtype' twice");
}

TEST_F(SafetensorsTest, NamesAreShownWithoutWhatATerminalWouldObey) {
  write_raw(R"({"\u001b[31mred":7})", 0);
  expect_refused("tensor '\\x1b[31mred' has no dtype");
  write_raw("{\"" + std::string(100000, 'n') + "\":7}", 0);
  expect_refused("n... (100000 bytes)' has no dtype");
}

TEST_F(SafetensorsTest, AFileThatBecameShorterOrAnotherIsNotReadBehindItsEnd) {
  write_raw(header_of({{"a", 0, 4000}}), 4000);
  const SafetensorsIndex index = index_safetensors(path);
  fs::remove(path);
  write_raw("{}", 0);  // a new file of that name changes nothing
  EXPECT_EQ(read_tensor(index, "a").bytes.size(), 4000u);

  write_raw(header_of({{"a", 0, 4000}}), 4000);
  const SafetensorsIndex cut = index_safetensors(path);
  fs::resize_file(path, 1000);
  try {
    read_tensor(cut, "a");
    FAIL() << "bytes that are no longer there were read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("became shorter while it was read"), std::string::npos) << error.what();
  }
}

TEST_F(SafetensorsTest, AMissingTensorListsThoseThereAre) {
  write_safetensors(path, {{"query", tensor("F16", {1}, {0, 0})}, {"key", tensor("F16", {1}, {0, 0})}});
  try {
    read_tensor(index_safetensors(path), "q");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("key, query"), std::string::npos) << error.what();
  }
}

TEST_F(SafetensorsTest, AFolderThatIsNotThereIsAnErrorAndLeavesNothing) {
  EXPECT_THROW(write_safetensors(folder / "no" / "file", {{"a", tensor("F16", {1}, {0, 0})}}), Error);
  EXPECT_TRUE(fs::is_empty(folder));
}

// --- q, k and v

class QkvTest : public SafetensorsTest {
 protected:
  using Shape = std::vector<std::int64_t>;

  void write_qkv(const Shape& q, const Shape& k, const Shape& v, const std::string& dtype = "F16") const {
    std::map<std::string, HostTensor> tensors;
    for (const auto& [name, shape] : {std::pair<std::string, Shape>{"q", q}, {"k", k}, {"v", v}}) {
      std::size_t elements = 1;
      for (std::int64_t extent : shape) elements *= static_cast<std::size_t>(extent);
      std::vector<std::byte> bytes(elements * (dtype == "F32" ? 4 : 2));
      for (std::size_t i = 0; dtype == "F32" && i < elements; ++i) {
        const float value = static_cast<float>(i) * 0.25f;
        std::memcpy(bytes.data() + 4 * i, &value, 4);
      }
      tensors[name] = {dtype, shape, bytes};
    }
    write_safetensors(path, tensors);
  }

  void expect_misuse(const std::string& telling, Layout layout = Layout::kBshd, std::optional<Dtype> dtype = {}) const {
    try {
      read_qkv(path, layout, dtype);
      FAIL() << "no error; wanted: " << telling;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(telling), std::string::npos) << error.what();
    }
  }
};

TEST_F(QkvTest, ShapesBecomeAProblemInEitherLayout) {
  write_qkv({2, 5, 4, 8}, {2, 7, 2, 8}, {2, 7, 2, 8});
  const Problem p = read_qkv(path, Layout::kBshd).problem;
  EXPECT_EQ(p.batch, 2);
  EXPECT_EQ(p.seq_q, 5);
  EXPECT_EQ(p.heads, 4);
  EXPECT_EQ(p.seq_kv, 7);
  EXPECT_EQ(p.kv_heads, 2);
  EXPECT_EQ(p.head_dim, 8);
  EXPECT_EQ(p.dtype, Dtype::kFp16);
  EXPECT_EQ(layout_of(p), Layout::kBshd);

  write_qkv({2, 4, 5, 8}, {2, 2, 7, 8}, {2, 2, 7, 8}, "BF16");
  const QkvInput bhsd = read_qkv(path, Layout::kBhsd);
  EXPECT_EQ(bhsd.problem.seq_q, 5);
  EXPECT_EQ(bhsd.problem.heads, 4);
  EXPECT_EQ(bhsd.problem.dtype, Dtype::kBf16);
  EXPECT_EQ(layout_of(bhsd.problem), Layout::kBhsd);
  EXPECT_EQ(bhsd.inputs.q.size(), 2u * 4 * 5 * 8);
}

TEST_F(QkvTest, Fp32StaysUnlessAnotherTypeIsAskedFor) {
  write_qkv({1, 1, 1, 8}, {1, 1, 1, 8}, {1, 1, 1, 8}, "F32");
  const QkvInput fp16 = read_qkv(path, Layout::kBshd, Dtype::kFp16);
  EXPECT_EQ(fp16.problem.dtype, Dtype::kFp16);
  EXPECT_EQ(fp16.inputs.k[5], 1.25f);
  const QkvInput bf16 = read_qkv(path, Layout::kBshd, Dtype::kBf16);
  EXPECT_EQ(bf16.problem.dtype, Dtype::kBf16);
  EXPECT_EQ(bf16.inputs.v[7], 1.75f);
  const QkvInput fp32 = read_qkv(path, Layout::kBshd);
  EXPECT_EQ(fp32.problem.dtype, Dtype::kFp32);
  EXPECT_EQ(fp32.problem.precision, Precision::kTf32x3);
  EXPECT_EQ(fp32.inputs.v[7], 1.75f);
}

TEST_F(QkvTest, TensorsThatDisagreeAreRefusedWithTheirShapes) {
  write_qkv({2, 5, 4, 8}, {1, 7, 2, 8}, {2, 7, 2, 8});
  expect_misuse("q [2, 5, 4, 8], k [1, 7, 2, 8] and v [2, 7, 2, 8] disagree in batch");
  write_qkv({2, 5, 4, 8}, {2, 7, 2, 8}, {2, 6, 2, 8});
  expect_misuse("disagree in the length of k and v");
  write_qkv({2, 5, 4, 8}, {2, 7, 2, 8}, {2, 7, 1, 8});
  expect_misuse("disagree in the heads of k and v");
  write_qkv({2, 5, 4, 8}, {2, 7, 2, 16}, {2, 7, 2, 16});
  expect_misuse("disagree in the head dim");
  write_qkv({2, 5, 3, 8}, {2, 7, 2, 8}, {2, 7, 2, 8});
  expect_misuse("heads must be a multiple of kv-heads");
  write_qkv({2, 5, 4, 7}, {2, 7, 2, 7}, {2, 7, 2, 7});
  expect_misuse("head-dim must be a multiple of 8");
  write_qkv({5, 4, 8}, {7, 2, 8}, {7, 2, 8});
  expect_misuse("q has shape [5, 4, 8]; four sizes [batch, seq, heads, dim] are wanted");
  write_qkv({2, 0, 4, 8}, {2, 7, 2, 8}, {2, 7, 2, 8});
  expect_misuse("every size must be at least 1");
}

TEST_F(QkvTest, UnsupportedTypesAndLayoutsAreRefused) {
  write_qkv({1, 1, 1, 8}, {1, 1, 1, 8}, {1, 1, 1, 8}, "I16");
  expect_misuse("dtype I16 is not supported; F16, BF16 and F32 are");
  write_qkv({1, 1, 1, 8}, {1, 1, 1, 8}, {1, 1, 1, 8});
  expect_misuse("leave --dtype out", Layout::kBshd, Dtype::kBf16);
  expect_misuse("packed", Layout::kPacked);
}

TEST_F(QkvTest, TheOutputIsReadBackWithItsShape) {
  write_qkv({1, 4, 2, 8}, {1, 2, 3, 8}, {1, 2, 3, 8});
  const Problem p = read_qkv(path, Layout::kBhsd).problem;
  Elements o(Dtype::kFp16, 1 * 4 * 2 * 8);
  for (std::size_t i = 0; i < o.size(); ++i) o.set(i, 1.0f);
  write_output(folder / "out", p, o, std::vector<float>(8, 2.5f));
  const SafetensorsIndex index = index_safetensors(folder / "out");
  EXPECT_EQ(index.tensors.at("o").shape, (Shape{1, 4, 2, 8}));
  EXPECT_EQ(index.tensors.at("o").dtype, "F16");
  EXPECT_EQ(index.tensors.at("lse").shape, (Shape{1, 4, 2}));
  float first;
  std::memcpy(&first, read_tensor(index, "lse").bytes.data(), 4);
  EXPECT_EQ(first, 2.5f);
  write_output(folder / "out", p, o, {});
  EXPECT_EQ(index_safetensors(folder / "out").tensors.count("lse"), 0u);
}

}  // namespace
}  // namespace flashtune
