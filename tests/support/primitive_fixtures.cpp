// Runs the primitives' kernels and compares their words.
#include "tests/support/primitive_fixtures.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace flashtune {
namespace fs = std::filesystem;
namespace {

constexpr unsigned kSharedBytes = 4096;  // enough for each of the kernels

struct Params {
  DevicePtr in, words, out;
};

/// Ties and carries of both 16-bit types, subnormals, infinities, NaN, and plain numbers.
std::vector<float> inputs() {
  const float nan = std::bit_cast<float>(0x7fc00000u), infinity = std::bit_cast<float>(0x7f800000u);
  return {0.f,        -0.f,       1.f,           -1.f,     1.00390625f, 1.01171875f, 1.00048828125f, 1.00146484375f,
          65504.f,    65519.f,    65520.f,       -65536.f, 3.3895e38f,  3.4028e38f,  6.1035e-5f,     5.9605e-8f,
          2.9802e-8f, 2.9803e-8f, 1e-40f,        infinity, -infinity,   nan,         0.333333f,      -2.71828f,
          100.25f,    -3.5f,      0.0009765625f, 17.f,     -126.5f,     127.9f,      -149.f,         1e-20f};
}

/// ex2.approx and rcp.approx are good to 2^-22 of their value, lg2.approx to 2^-22 outright where it passes through 0.
bool close(std::uint32_t a, std::uint32_t b, bool logarithm) {
  const float x = std::bit_cast<float>(a), y = std::bit_cast<float>(b);
  if (std::isnan(x) || std::isnan(y)) return std::isnan(x) && std::isnan(y);
  if (std::isinf(x) || std::isinf(y)) return a == b;
  return std::fabs(x - y) <= std::fmax(0x1p-21f * std::fabs(y), logarithm ? 0x1p-22f : 0.f);
}

/// Words that tell where they come from.
std::vector<std::uint32_t> coded_words() {
  std::vector<std::uint32_t> coded(32);
  for (std::uint32_t i = 0; i < 32; ++i) coded[i] = 0x01000000u * i + 0x00a5c3u + i;
  return coded;
}

/// What wmma_tf32 ends with: lane l half of row l / 2 of 2 (A B1 + 3) + A B2, exact in any order.
std::vector<std::uint32_t> wmma_words() {
  std::vector<std::uint32_t> words;
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 16; ++column) {
      int sum = 6;
      for (int k = 0; k < 8; ++k) {
        const int a = (row * 8 + k) * 7 % 17 - 8;
        sum += a * (2 * ((column * 8 + k) * 5 % 13 - 6) + (k * 16 + column) * 3 % 11 - 5);
      }
      words.push_back(std::bit_cast<std::uint32_t>(static_cast<float>(sum)));
    }
  return words;
}

/// What shared_words and global_words end with.
PrimitiveWords moved_words() {
  const std::vector<std::uint32_t> coded = coded_words();
  PrimitiveWords moved;
  auto& shared = moved["shared_words"];
  auto& global = moved["global_words"];
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    const std::uint32_t other = (lane * 5 + 3) % 32, upper = 1000 + other % 16 * 4;
    for (const std::uint32_t word :
         {other, 1000 + other, other * 2, other * 2 + 1, upper, upper + 1, upper + 2, upper + 3})
      shared.push_back(word);
    const std::uint32_t eight = other % 16 * 2, sixteen = other % 8 * 4;
    for (const std::uint32_t from : {other, lane, eight, eight + 1, sixteen, sixteen + 1, sixteen + 2, sixteen + 3})
      global.push_back(coded[from]);
  }
  return moved;
}

}  // namespace

const std::map<std::string, PrimitiveKernel>& primitive_kernels() {
  static const std::map<std::string, PrimitiveKernel> kernels = {
      {"ldmatrix", {4}},        {"ldmatrix_trans", {4}}, {"mma_fp16", {4}},
      {"mma_bf16", {4}},        {"mma_tf32", {4}},       {"rounding_tf32", {1}},
      {"pack_fp16", {1}},       {"pack_bf16", {1}},      {"shuffles", {5}},
      {"votes", {3}},           {"copies", {4}},         {"atomics", {2}},
      {"arithmetic", {2}},      {"approximations", {3}}, {"named_barriers", {1, 64}},
      {"shared_words", {8}},    {"global_words", {8}},   {"wmma_tf32", {8}},
      {"rounded_products", {3}}};
  return kernels;
}

std::string primitive_source() {
  std::ifstream in(fs::path(FLASHTUNE_SOURCE_DIR) / "tests/fixtures/primitives.cuh");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

PrimitiveWords run_primitives(Device& device, const std::function<std::string(const std::string&)>& cubin_of) {
  const std::vector<float> floats = inputs();
  const std::vector<std::uint32_t> coded = coded_words();
  const DeviceBuffer in(device, 4 * floats.size()), words(device, 4 * coded.size());
  device.copy_in(in.get(), floats.data(), in.size());
  device.copy_in(words.get(), coded.data(), words.size());
  PrimitiveWords results;
  for (const auto& [name, shape] : primitive_kernels()) {
    std::vector<std::uint32_t> result(shape.words * shape.threads);
    const DeviceBuffer out(device, 4 * result.size());
    const auto kernel = device.load(cubin_of(name), name, kSharedBytes);
    const Params params{in.get(), words.get(), out.get()};
    Launch launch;
    launch.block = shape.threads;
    launch.smem_bytes = kSharedBytes;
    launch.params = &params;
    device.launch(*kernel, launch);
    device.synchronize();
    device.copy_out(result.data(), out.get(), out.size());
    results[name] = result;
  }
  return results;
}

fs::path primitive_fixture_path() { return fs::path(FLASHTUNE_SOURCE_DIR) / "tests/fixtures/primitives.json"; }

std::optional<PrimitiveWords> read_primitive_fixture() {
  std::ifstream in(primitive_fixture_path());
  if (!in) return std::nullopt;
  auto words = nlohmann::json::parse(in).at("kernels").get<PrimitiveWords>();
  for (const auto& [name, moved] : moved_words()) words[name] = moved;
  words["wmma_tf32"] = wmma_words();
  return words;
}

std::string primitive_fixture_json(const PrimitiveWords& words, const std::string& where) {
  nlohmann::ordered_json json;
  json["what"] = "the words that each lane of each kernel of primitives.cuh ends with, lane by lane";
  json["device"] = where;
  json["kernels"] = words;
  return json.dump(1) + "\n";
}

std::vector<std::string> primitive_differences(const PrimitiveWords& got, const PrimitiveWords& wanted) {
  std::vector<std::string> lines;
  for (const auto& [name, shape] : primitive_kernels()) {
    const auto a = got.find(name), b = wanted.find(name);
    if (a == got.end() || b == wanted.end() || a->second.size() != b->second.size()) {
      lines.push_back(fmt::format("{}: missing, or of another size", name));
      continue;
    }
    for (std::size_t i = 0; i < a->second.size(); ++i) {
      const std::uint32_t x = a->second[i], y = b->second[i];
      const std::size_t lane = i / shape.words, word = i % shape.words;
      if (name == "approximations" ? close(x, y, word == 1) : x == y) continue;
      lines.push_back(fmt::format("{} lane {} word {}: {:#010x}, wanted {:#010x}", name, lane, word, x, y));
    }
  }
  return lines;
}

}  // namespace flashtune
