// Builds the bytes of a small cubin, so that reading one can be tested without a compiler.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace flashtune {

/// An ELF file with the sections that hold a kernel's facts. Fields may be changed before bytes() is called.
struct CubinBuilder {
  std::string entry = "kernel";
  int arch = 80;
  bool new_abi = true;  // of NVRTC 13: the architecture stands in other bits
  std::uint32_t registers = 128;
  std::uint32_t frame = 16;
  std::uint32_t max_threads[3] = {256, 1, 1};
  std::uint64_t shared_bytes = 0;  // of .nv.shared.<entry>; 0: no such section
  std::string constants;           // of .nv.constant2.<entry>; empty: no such section
  std::vector<std::uint16_t> opcodes = {0x23c, 0x23c, 0x83b, 0x387};

  std::string bytes() const;
};

}  // namespace flashtune
