// tests/fixtures/primitives.cuh on any device: what each lane ends with, as the fixture file holds it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/device/device.h"

namespace flashtune {

/// Kernel to words: `lanes * words per lane` of them, in the order of the lanes.
using PrimitiveWords = std::map<std::string, std::vector<std::uint32_t>>;

/// The kernels of primitives.cuh.
struct PrimitiveKernel {
  unsigned words = 1;  // of each thread
  unsigned threads = 32;
};
const std::map<std::string, PrimitiveKernel>& primitive_kernels();
std::string primitive_source();
/// Compiles and runs them all; `cubin_of` gives the code of one entry of the source.
PrimitiveWords run_primitives(Device& device, const std::function<std::string(const std::string& entry)>& cubin_of);

std::filesystem::path primitive_fixture_path();
/// With the words of kernels that only move them, which are worked out; nothing when there is no such file.
std::optional<PrimitiveWords> read_primitive_fixture();
std::string primitive_fixture_json(const PrimitiveWords& words, const std::string& where);

/// One line for each word that differs; those of `approximations` may differ by the hardware's error.
std::vector<std::string> primitive_differences(const PrimitiveWords& got, const PrimitiveWords& wanted);

}  // namespace flashtune
