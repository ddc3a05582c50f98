// Safetensors files: an 8-byte little-endian header length, a JSON header, then the tensors' bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace flashtune {

class PlainFile;

/// Where a tensor lies in a file and what it is. `dtype` is the format's own token ("F16", "BF16", "F32", "I64", ...).
struct TensorEntry {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // bytes from the start of the file
};

/// The header of a file: tensors of any dtype, checked against the file's size, their shapes and each other. The file
/// stays open, so that tensors are of the file whose header was read.
struct SafetensorsIndex {
  std::filesystem::path path;
  std::shared_ptr<const PlainFile> file;
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
};

/// A tensor in memory.
struct HostTensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};

/// Reads the header alone, so a file of many gigabytes costs nothing. As strict as the format's own reader: tensors
/// fill the data from its first byte to its last without a hole or an overlap, and no name stands twice. A dtype that
/// is not known here is taken, as the format grows. Throws Error(kNotFound) for a file that is not there and Error(kIo)
/// that says what is wrong with one that is no safetensors file, is truncated, or contradicts itself.
SafetensorsIndex index_safetensors(const std::filesystem::path& path);

/// Reads one tensor. Throws Error(kInvalidArgument) listing the names the file has when `name` is not among them, and
/// Error(kIo) where the file has become shorter.
HostTensor read_tensor(const SafetensorsIndex& index, const std::string& name);

/// What errors call such a file when it is an output: for require_named_output().
constexpr const char* kTensorsErrand = "tensors";

/// Writes a whole file, by the rules of write_named_output(). Throws Error(kIo).
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, HostTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// "[2, 8, 16, 64]".
std::string text_of_shape(const std::vector<std::int64_t>& shape);

}  // namespace flashtune
