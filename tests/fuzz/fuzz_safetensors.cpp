// Safetensors: what is accepted lies within the file, behind the header, without holes or overlaps, and can be read.
#include <algorithm>

#include "tests/fuzz/fuzz.h"
#include "tuner/tensors/safetensors.h"

namespace flashtune {
namespace {

using fuzz::require;

void check(std::string_view bytes) {
  const fuzz::MemoryFile file(bytes);
  SafetensorsIndex index;
  if (!fuzz::accepts([&] { index = index_safetensors(file.path()); })) return;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
  for (const auto& [name, entry] : index.tensors) {
    places.emplace_back(entry.begin, entry.end);
    require(entry.begin >= 8 && entry.begin <= entry.end && entry.end <= bytes.size(), "a tensor outside of its file");
    const HostTensor tensor = read_tensor(index, name);
    require(tensor.bytes.size() == entry.end - entry.begin, "a tensor of another size");
    require(std::equal(tensor.bytes.begin(), tensor.bytes.end(),
                       reinterpret_cast<const std::byte*>(bytes.data()) + entry.begin),
            "a tensor of other bytes");
  }
  std::sort(places.begin(), places.end());
  for (std::size_t i = 1; i < places.size(); ++i)
    require(places[i - 1].second == places[i].first, "tensors that overlap, or leave a hole");
  require(places.empty() || places.back().second == bytes.size(), "bytes behind the last tensor");
}

}  // namespace
}  // namespace flashtune

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  flashtune::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
