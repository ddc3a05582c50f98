// tests/fixtures/primitives_sm90.cuh on any device of sm_90: what its kernels leave, and what they have to.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/device/device.h"

namespace flashtune {

struct HopperKernel {
  unsigned words;       // of all threads
  unsigned blocks = 1;  // a cluster
  std::vector<std::uint32_t> wanted;
};
/// By the kernels' names, with the words that they leave.
const std::map<std::string, HopperKernel>& hopper_kernels();
std::string hopper_source();

/// Runs one of them out of `cubin`; a line for each of the first few words that are not the wanted ones.
std::vector<std::string> hopper_differences(Device& device, const std::string& cubin, const std::string& name);

}  // namespace flashtune
