// Works out by plain arithmetic what the kernels of primitives_sm90.cuh leave, and runs them.
#include "tests/support/hopper_fixtures.h"

#include <fmt/format.h>

#include <bit>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/device/dtype_bits.h"
#include "tests/support/uploaded.h"

namespace flashtune {
namespace {

using Words = std::vector<std::uint32_t>;

struct Params {
  TensorMap numbers, clipped, grouped, stored;
  DevicePtr pairs, out;
};

constexpr unsigned kThreads = 128, kSmem = 80 * 1024;
constexpr int kNumberRows = 512, kCodeRows = 256, kColumns = 256;

/// Small enough for any sum of products to be exact.
int number(int row, int column) { return (row * 7 + column * 5 + row * column % 3) % 9 - 4; }
std::uint16_t code(long long index) { return static_cast<std::uint16_t>(index); }

// --- tensors of `codes` and of `out`, whose addresses are set later

TensorBox clipped() { return {0, 4, {200, 40, 3, 2}, {1, 256, 40 * 256, 120 * 256}, {64, 32, 1, 1}}; }
TensorBox grouped() { return {0, 5, {64, 4, 30, 2, 4}, {1, 64, 256, 30 * 256, 60 * 256}, {64, 4, 8, 1, 1}}; }
TensorBox stored() { return {0, 5, {72, 2, 24, 1, 1}, {1, 72, 144, 8, 8}, {64, 2, 16, 1, 1}}; }

/// The element of the tensor that element `column` of line `line` of a box is, or -1 outside of it.
long long element_of(const TensorBox& tensor, std::vector<int> at, int line, int column) {
  at[0] += column;
  for (int i = 1; i < tensor.axes; ++i) {
    at[static_cast<std::size_t>(i)] += line % tensor.box[i];
    line /= tensor.box[i];
  }
  long long element = 0;
  for (int i = 0; i < tensor.axes; ++i) {
    const int x = at[static_cast<std::size_t>(i)];
    if (x < 0 || x >= tensor.sizes[i]) return -1;
    element += x * tensor.strides[i];
  }
  return element;
}

/// 32 lines of codes in shared memory.
Words box_of(const TensorBox& tensor, const std::vector<int>& at) {
  Words words(1024);
  for (int line = 0; line < 32; ++line)
    for (int column = 0; column < 64; ++column) {
      const long long element = element_of(tensor, at, line, column);
      const int chunk = column / 8 ^ line % 8, place = line * 64 + chunk * 8 + column % 8;
      const std::uint32_t bits = element < 0 ? 0u : code(element);
      words[static_cast<std::size_t>(place / 2)] |= bits << place % 2 * 16;
    }
  return words;
}

Words joined(const std::vector<Words>& parts) {
  Words all;
  for (const Words& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Words stored_words() {
  std::vector<std::uint16_t> out(4096);
  for (const std::vector<int>& at : {std::vector{16, 0, 3, 0, 0}, {0, 1, 20, 0, 0}})
    for (int line = 0; line < 32; ++line)
      for (int column = 0; column < 64; ++column)
        if (const long long element = element_of(stored(), at, line, column); element >= 0)
          out[static_cast<std::size_t>(element)] = static_cast<std::uint16_t>(line * 64 + column + 1);
  Words words;
  for (std::size_t i = 0; i < out.size(); i += 2)
    words.push_back(out[i] | static_cast<std::uint32_t>(out[i + 1]) << 16);
  return words;
}

Words product_words(int columns) {
  Words words;
  for (int result = 0; result < 3; ++result)
    for (int n = 0; n < columns / 8; ++n)
      for (int e = 0; e < 4; ++e)
        for (int t = 0; t < static_cast<int>(kThreads); ++t) {
          const int row = t / 32 * 16 + t % 32 / 4 + e / 2 * 8, column = n * 8 + t % 4 * 2 + e % 2;
          int by_rows = 0, by_depth = 0;
          for (int k = 0; k < 64; ++k) {
            by_rows += number(row, k) * number(64 + column, k);
            by_depth += number(row, k) * number(320 + k, column);
          }
          words.push_back(std::bit_cast<std::uint32_t>(static_cast<float>(by_rows + result * by_depth)));
        }
  return words;
}

Words phase_words() {
  Words words;
  for (std::uint32_t t = 0; t < kThreads; ++t)
    for (std::uint32_t phase = 0; phase < 4; ++phase) words.push_back(phase * 1000 + (t * 5 + 3) % 128);
  return words;
}

Words received_words() {
  Words words;
  for (std::uint32_t rank = 0; rank < 2; ++rank)
    for (std::uint32_t t = 0; t < kThreads; ++t) words.push_back((rank ^ 1) * 1000 + t), words.push_back(t);
  return words;
}

Words sent_words() {
  Words words;
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    const std::uint32_t sender = rank ^ 1;
    for (std::uint32_t t = 0; t < kThreads; ++t)
      for (const std::uint32_t word : {sender * 1000 + t, t, sender, 7u}) words.push_back(word);
    for (std::uint32_t t = 0; t < 64; ++t) words.push_back(t), words.push_back(sender);
  }
  return words;
}

/// Register i of lane l is its pair l % 4 of row l / 4 of matrix i, whose address lane 8 * i + l / 4 gave.
Words stmatrix_words() {
  Words words(128);
  for (std::uint32_t lane = 0; lane < 32; ++lane)
    for (std::uint32_t i = 0; i < 4; ++i) words[((i * 8 + lane / 4) * 5 + 3) % 32 * 4 + lane % 4] = lane * 4 + i + 1;
  return words;
}

Words first_lanes() {
  Words words;
  for (std::uint32_t t = 0; t < kThreads; ++t) words.push_back(t / 32 * 96 + 7);
  return words;
}

Words lanes_values() {
  Words words;
  for (std::uint32_t t = 0; t < kThreads; ++t)
    for (const std::uint32_t lane : {5u, (t * 11 + 3) % 32}) words.push_back((t / 32 * 32 + lane) * 3 + 7);
  return words;
}

std::map<std::string, HopperKernel> all_kernels() {
  std::map<std::string, HopperKernel> kernels;
  const auto add = [&](const std::string& name, const Words& wanted, unsigned blocks = 1) {
    kernels[name] = {static_cast<unsigned>(wanted.size()), blocks, wanted};
  };
  for (const int columns : {8, 64, 80, 128, 256})
    for (const char* dtype : {"fp16", "bf16"}) add(fmt::format("wgmma_{}_{}", dtype, columns), product_words(columns));
  add("tma_load_inside", box_of(clipped(), {64, 3, 1, 1}));
  add("tma_load_before", box_of(clipped(), {-8, -5, 0, 0}));
  add("tma_load_behind", box_of(clipped(), {152, 29, 2, 1}));
  add("tma_load_outside", Words(1024));
  add("tma_load_group", joined({box_of(grouped(), {0, 0, 5, 1, 2}), box_of(grouped(), {0, 2, 26, 0, 3})}));
  add("tma_store_clipped", stored_words());
  const Words both = joined({box_of(clipped(), {0, 2, 1, 0}), box_of(clipped(), {64, 2, 1, 0})});
  add("tma_multicast", joined({both, both}), 2);
  add("mbarrier_of_another_block", received_words(), 2);
  add("sent_to_another_block", sent_words(), 2);
  add("mbarrier_phases", phase_words());
  add("stmatrix", stmatrix_words());
  add("first_lane", first_lanes());
  add("one_lane", lanes_values());
  return kernels;
}

TensorMap map_of(Device& device, TensorBox tensor, const DeviceBuffer& at) {
  tensor.base = at.get();
  return device.tensor_map(tensor);
}

}  // namespace

const std::map<std::string, HopperKernel>& hopper_kernels() {
  static const std::map<std::string, HopperKernel> kernels = all_kernels();
  return kernels;
}

std::string hopper_source() {
  std::ifstream in(std::filesystem::path(FLASHTUNE_SOURCE_DIR) / "tests/fixtures/primitives_sm90.cuh");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<std::string> hopper_differences(Device& device, const std::string& cubin, const std::string& name) {
  std::vector<std::uint16_t> numbers[2], codes;
  for (int i = 0; i < kNumberRows * kColumns; ++i)
    for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
      numbers[dtype == Dtype::kBf16].push_back(
          from_float(static_cast<float>(number(i / kColumns, i % kColumns)), dtype));
  for (int i = 0; i < kCodeRows * kColumns; ++i) codes.push_back(code(i));
  const DeviceBuffer numbers_of[2] = {uploaded(device, numbers[0]), uploaded(device, numbers[1])};
  const DeviceBuffer coded = uploaded(device, codes);
  const TensorBox matrix{0, 4, {kColumns, kNumberRows, 1, 1}, {1, kColumns, 8, 8}, {64, 64, 1, 1}};

  const HopperKernel& kernel = hopper_kernels().at(name);
  const DeviceBuffer out(device, 4 * kernel.words);
  device.fill(out.get(), 0, out.size());
  const DeviceBuffer& mine = numbers_of[name.find("bf16") != std::string::npos];
  const Params params{map_of(device, matrix, mine),
                      map_of(device, clipped(), coded),
                      map_of(device, grouped(), coded),
                      map_of(device, stored(), name == "tma_store_clipped" ? out : coded),
                      mine.get(),
                      out.get()};
  const auto loaded = device.load(cubin, name, kSmem);
  Launch launch;
  launch.grid[0] = launch.cluster = kernel.blocks;
  launch.block = kThreads;
  launch.smem_bytes = kSmem;
  launch.params = &params;
  device.launch(*loaded, launch);
  device.synchronize();
  Words got(kernel.words);
  device.copy_out(got.data(), out.get(), out.size());

  std::vector<std::string> lines;
  for (std::size_t i = 0; i < got.size() && lines.size() < 4; ++i)
    if (got[i] != kernel.wanted[i])
      lines.push_back(fmt::format("{} word {}: {:#010x}, wanted {:#010x}", name, i, got[i], kernel.wanted[i]));
  return lines;
}

}  // namespace flashtune
