// Reading and writing safetensors. A file is not trusted: every number in its header is checked before it is used.
#include "tuner/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "cache/error.h"
#include "cache/named_output.h"

namespace flashtune {
namespace {

using Json = nlohmann::json;
constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // the format's own limit

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw Error(ErrorKind::kIo, fmt::format("{} is not a sound safetensors file: {}", path.string(), why));
}

/// Bits of an element; 0 for a dtype that is not known here, whose size is then not checked.
std::uint64_t bits_of(const std::string& dtype) {
  static const std::map<std::string, std::uint64_t> known = {
      {"BOOL", 8},  {"U8", 8},   {"I8", 8},   {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"I16", 16}, {"U16", 16}, {"F16", 16},
      {"BF16", 16}, {"I32", 32}, {"U32", 32}, {"F32", 32},    {"I64", 64},    {"U64", 64}, {"F64", 64}};
  const auto found = known.find(dtype);
  return found == known.end() ? 0 : found->second;
}

/// Elements of a shape; nothing when the product does not fit.
std::optional<std::uint64_t> elements_of(const std::vector<std::int64_t>& shape) {
  std::uint64_t product = 1;
  for (std::int64_t extent : shape) {
    const auto factor = static_cast<std::uint64_t>(extent);
    if (factor != 0 && product > std::numeric_limits<std::uint64_t>::max() / 64 / factor) return std::nullopt;
    product *= factor;
  }
  return product;
}

std::uint64_t read_length(std::ifstream& file) {
  std::array<unsigned char, kLengthBytes> bytes{};
  file.read(reinterpret_cast<char*>(bytes.data()), kLengthBytes);
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | bytes[i];
  return length;
}

std::uint64_t unsigned_of(const Json& value, const std::filesystem::path& path, const std::string& what) {
  if (!value.is_number_unsigned())
    refuse(path, fmt::format("{} is {}, not a whole number of at least 0", what, value.dump()));
  return value.get<std::uint64_t>();
}

/// One entry of the header, with offsets moved from the data's start to the file's.
TensorEntry entry_of(const std::string& name, const Json& json, std::uint64_t data_begin, std::uint64_t file_bytes,
                     const std::filesystem::path& path) {
  const auto member = [&](const char* key, bool (Json::*is)() const noexcept, const char* kind) -> const Json& {
    if (!json.is_object() || !json.contains(key) || !(json.at(key).*is)())
      refuse(path, fmt::format("tensor '{}' has no {} that is {}", name, key, kind));
    return json.at(key);
  };
  TensorEntry entry;
  entry.dtype = member("dtype", &Json::is_string, "a string").get<std::string>();
  for (const Json& extent : member("shape", &Json::is_array, "a list")) {
    const std::uint64_t value = unsigned_of(extent, path, fmt::format("a size of tensor '{}'", name));
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      refuse(path, fmt::format("a size of tensor '{}' is {}", name, value));
    entry.shape.push_back(static_cast<std::int64_t>(value));
  }
  const Json& offsets = member("data_offsets", &Json::is_array, "a list");
  if (offsets.size() != 2) refuse(path, fmt::format("data_offsets of tensor '{}' are not two numbers", name));
  const std::uint64_t begin = unsigned_of(offsets[0], path, fmt::format("an offset of tensor '{}'", name));
  const std::uint64_t end = unsigned_of(offsets[1], path, fmt::format("an offset of tensor '{}'", name));
  if (begin > end || end > file_bytes - data_begin)
    refuse(path, fmt::format("tensor '{}' lies at bytes {} to {} of {} of data; the file may be truncated", name, begin,
                             end, file_bytes - data_begin));
  const std::optional<std::uint64_t> elements = elements_of(entry.shape);
  const std::uint64_t bits = bits_of(entry.dtype);
  if (!elements || (bits != 0 && *elements * bits != (end - begin) * 8))
    refuse(path, fmt::format("tensor '{}' of shape {} and dtype {} does not fill its {} bytes", name,
                             text_of_shape(entry.shape), entry.dtype, end - begin));
  entry.begin = data_begin + begin;
  entry.end = data_begin + end;
  return entry;
}

std::string header_of(const std::map<std::string, HostTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, at + tensor.bytes.size()}}};
    at += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begins on a multiple of 8
  return text;
}

}  // namespace

std::string text_of_shape(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

SafetensorsIndex index_safetensors(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    throw Error(ErrorKind::kNotFound, fmt::format("{} does not exist", path.string()));
  std::ifstream file(path, std::ios::binary);
  const std::uint64_t file_bytes = std::filesystem::file_size(path, error);
  if (!file || error)
    throw Error(ErrorKind::kIo, fmt::format("{} cannot be read; is it a file, and readable?", path.string()));
  if (file_bytes < kLengthBytes) refuse(path, fmt::format("it has {} bytes, too few for a header", file_bytes));

  const std::uint64_t header_bytes = read_length(file);
  if (header_bytes > kMostHeaderBytes || header_bytes > file_bytes - kLengthBytes)
    refuse(path, fmt::format("its header claims {} bytes and the file has {}", header_bytes, file_bytes));
  std::string text(header_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(header_bytes));
  if (!file) throw Error(ErrorKind::kIo, fmt::format("reading the header of {} failed", path.string()));
  const Json header = Json::parse(text, nullptr, false);
  if (!header.is_object()) refuse(path, "its header is no JSON object");

  SafetensorsIndex index;
  index.path = path;
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      index.tensors[name] = entry_of(name, value, kLengthBytes + header_bytes, file_bytes, path);
      continue;
    }
    if (!value.is_object()) refuse(path, "its __metadata__ is no object");
    for (const auto& [key, text_value] : value.items())
      index.metadata[key] = text_value.is_string() ? text_value.get<std::string>() : text_value.dump();
  }
  return index;
}

HostTensor read_tensor(const SafetensorsIndex& index, const std::string& name) {
  const auto found = index.tensors.find(name);
  if (found == index.tensors.end()) {
    std::vector<std::string> names;
    for (const auto& [known, entry] : index.tensors) names.push_back(known);
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("{} holds no tensor '{}'; it holds: {}", index.path.string(), name,
                            names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, ", "))));
  }
  const TensorEntry& entry = found->second;
  HostTensor tensor{entry.dtype, entry.shape, std::vector<std::byte>(entry.end - entry.begin)};
  std::ifstream file(index.path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(entry.begin));
  file.read(reinterpret_cast<char*>(tensor.bytes.data()), static_cast<std::streamsize>(tensor.bytes.size()));
  if (!file) throw Error(ErrorKind::kIo, fmt::format("reading tensor '{}' of {} failed", name, index.path.string()));
  return tensor;
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, HostTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(tensors, metadata);
  std::array<char, kLengthBytes> length{};
  for (std::size_t i = 0; i < kLengthBytes; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xffu);
  write_named_output(path, "tensors", [&](std::ostream& file) {
    file.write(length.data(), kLengthBytes);
    file.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const auto& [name, tensor] : tensors)
      file.write(reinterpret_cast<const char*>(tensor.bytes.data()), static_cast<std::streamsize>(tensor.bytes.size()));
  });
}

}  // namespace flashtune
