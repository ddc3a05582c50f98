// Reading and writing safetensors. A file is not trusted: every number in its header is checked before it is used, and
// what the format forbids is refused even where it could be read.
#include "tuner/tensors/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <tuple>
#include <utility>

#include "cache/error.h"
#include "cache/excerpt.h"
#include "cache/filesystem.h"
#include "cache/foreign_json.h"
#include "cache/last_resort.h"
#include "cache/named_output.h"
#include "cache/read_file.h"

namespace flashtune {
namespace {

using Json = nlohmann::json;
constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // the format's own limit

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw Error(ErrorKind::kIo, fmt::format("{} is not a sound safetensors file: {}", excerpt_of(path.native()), why));
}

/// Bits of an element; 0 for a dtype that is not known here, whose size is then not checked.
std::uint64_t bits_of(const std::string& dtype) {
  static const std::map<std::string, std::uint64_t> known = {
      {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"BOOL", 8}, {"U8", 8},   {"I8", 8},    {"F8_E4M3", 8},
      {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"I16", 16},    {"U16", 16}, {"F16", 16}, {"BF16", 16}, {"I32", 32},
      {"U32", 32},    {"F32", 32},    {"C64", 64},    {"I64", 64}, {"U64", 64}, {"F64", 64}};
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

std::uint64_t read_length(const PlainFile& file) {
  std::array<unsigned char, kLengthBytes> bytes{};
  file.read(0, bytes.data(), kLengthBytes);
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | bytes[i];
  return length;
}

std::uint64_t unsigned_of(const Json& value, const std::filesystem::path& path, const std::string& what) {
  if (!value.is_number_unsigned())
    refuse(path, fmt::format("{} is {}, not a whole number of at least 0", what, shown(value)));
  return value.get<std::uint64_t>();
}

/// One entry of the header; its offsets count from the data's start. `name` is as messages show it.
TensorEntry entry_of(const std::string& name, const Json& json, std::uint64_t data_bytes,
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
  if (begin > end || end > data_bytes)
    refuse(path, fmt::format("tensor '{}' lies at bytes {} to {} of {} of data; the file may be truncated", name, begin,
                             end, data_bytes));
  const std::optional<std::uint64_t> elements = elements_of(entry.shape);
  const std::uint64_t bits = bits_of(entry.dtype);
  if (!elements || (bits != 0 && *elements * bits != (end - begin) * 8))
    refuse(path, fmt::format("tensor '{}' of shape {} and dtype {} does not fill its {} bytes", name,
                             text_of_shape(entry.shape), excerpt_of(entry.dtype), end - begin));
  entry.begin = begin;
  entry.end = end;
  return entry;
}

/// The format's rule on where tensors lie: one behind the other, in whichever order, from the first byte of the data to
/// its last. What overlaps or leaves a hole is a file that was damaged, or made to be read differently by others.
void require_filled(const std::map<std::string, TensorEntry>& tensors, std::uint64_t data_bytes,
                    const std::filesystem::path& path) {
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string_view>> places;
  places.reserve(tensors.size());
  for (const auto& [name, entry] : tensors) places.emplace_back(entry.begin, entry.end, name);
  std::sort(places.begin(), places.end());
  std::uint64_t filled = 0;
  for (const auto& [begin, end, name] : places) {
    if (begin < filled)
      refuse(path, fmt::format("tensor '{}' at bytes {} to {} of the data overlaps one that ends at {}",
                               excerpt_of(name), begin, end, filled));
    if (begin > filled)
      refuse(path, fmt::format("no tensor holds bytes {} to {} of the data, before tensor '{}'", filled, begin,
                               excerpt_of(name)));
    filled = end;
  }
  if (filled != data_bytes)
    refuse(path, fmt::format("{} bytes of the data come after the last tensor", data_bytes - filled));
}

std::map<std::string, std::string> metadata_of(const Json& json, const std::filesystem::path& path) {
  if (!json.is_object()) refuse(path, fmt::format("its __metadata__ is {}, not an object", shown(json)));
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string())
      refuse(path,
             fmt::format("__metadata__ says '{}' is {}; only texts may stand there", excerpt_of(key), shown(value)));
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

/// The header's text, judged as the format does before it is JSON.
std::string read_header(const PlainFile& file) {
  const std::filesystem::path& path = file.path();
  if (file.bytes() < kLengthBytes) refuse(path, fmt::format("it has {} bytes, too few for a header", file.bytes()));
  const std::uint64_t bytes = read_length(file);
  if (bytes > kMostHeaderBytes || bytes > file.bytes() - kLengthBytes)
    refuse(path, fmt::format("its header claims {} bytes and the file has {}{}", bytes, file.bytes(),
                             bytes > kMostHeaderBytes ? "; the format allows 100,000,000" : ""));
  std::string text(bytes, '\0');
  file.read(kLengthBytes, text.data(), text.size());
  if (!text.starts_with('{'))
    refuse(path, fmt::format("its header begins with '{}', not with '{{'", excerpt_of(text.substr(0, 1))));
  return text;
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
  constexpr std::ptrdiff_t kMostShown = 16;
  const std::ptrdiff_t count = std::min(kMostShown, static_cast<std::ptrdiff_t>(shape.size()));
  return fmt::format("[{}{}]", fmt::join(shape.begin(), shape.begin() + count, ", "),
                     std::cmp_greater(shape.size(), kMostShown) ? fmt::format(", ... {} in all", shape.size()) : "");
}

SafetensorsIndex index_safetensors(const std::filesystem::path& path) {
  return while_reading(path, [&] {
    SafetensorsIndex index;
    index.path = path;
    index.file = std::make_shared<const PlainFile>(path);
    const std::string text = read_header(*index.file);
    const ParsedJson header = parse_foreign_json(text);
    if (!header.fault.empty()) refuse(path, "of its header: " + header.fault);
    const std::uint64_t data_begin = kLengthBytes + text.size(), data_bytes = index.file->bytes() - data_begin;
    for (const auto& [name, value] : header.value.items()) {
      if (name == "__metadata__")
        index.metadata = metadata_of(value, path);
      else
        index.tensors[name] = entry_of(excerpt_of(name), value, data_bytes, path);
    }
    require_filled(index.tensors, data_bytes, path);
    for (auto& [name, entry] : index.tensors) entry.begin += data_begin, entry.end += data_begin;
    return index;
  });
}

HostTensor read_tensor(const SafetensorsIndex& index, const std::string& name) {
  const auto found = index.tensors.find(name);
  if (found == index.tensors.end()) {
    constexpr std::size_t kMostShown = 20;
    std::vector<std::string> names;
    for (auto known = index.tensors.begin(); known != index.tensors.end() && names.size() < kMostShown; ++known)
      names.push_back(excerpt_of(known->first));
    if (index.tensors.size() > kMostShown) names.push_back(fmt::format("{} more", index.tensors.size() - kMostShown));
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("{} holds no tensor '{}'; it holds: {}", excerpt_of(index.path.native()), name,
                            names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, ", "))));
  }
  return while_reading(index.path, [&] {
    const TensorEntry& entry = found->second;
    HostTensor tensor{entry.dtype, entry.shape, std::vector<std::byte>(entry.end - entry.begin)};
    index.file->read(entry.begin, tensor.bytes.data(), tensor.bytes.size());
    return tensor;
  });
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, HostTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(tensors, metadata);
  std::array<char, kLengthBytes> length{};
  for (std::size_t i = 0; i < kLengthBytes; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xffu);
  write_named_output(path, kTensorsErrand, [&](std::ostream& file) {
    file.write(length.data(), kLengthBytes);
    file.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const auto& [name, tensor] : tensors)
      file.write(reinterpret_cast<const char*>(tensor.bytes.data()), static_cast<std::streamsize>(tensor.bytes.size()));
  });
}

}  // namespace flashtune
