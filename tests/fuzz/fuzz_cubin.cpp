// Cubins and the store's entries: ELF of any bytes is read within its bounds, and a damaged entry is none at all.
#include <fstream>

#include "cache/cubin_folder.h"
#include "cache/cubin_store.h"
#include "runtime/jit/cubin.h"
#include "tests/fuzz/fuzz.h"

namespace flashtune {
namespace {

using fuzz::require;

void check_elf(const std::string& bytes) {
  fuzz::accepts([&] {
    const KernelFacts facts = facts_of_cubin(bytes, "kernel");
    require(facts.registers > 0 && facts.stack_bytes >= 0 && facts.smem_static >= 0 && facts.max_threads >= 0,
            "facts that no kernel has");
  });
  fuzz::accepts([&] {
    std::size_t instructions = 0;
    for (const auto& [name, count] : instruction_mix(bytes, "kernel")) instructions += static_cast<std::size_t>(count);
    require(instructions <= bytes.size() / 16, "more instructions than there is room for");
  });
  require(spill_bytes_of_log(bytes) >= 0, "fewer than no spills");
  require(serialisation_in_log(bytes).size() <= bytes.size(), "more than the log");
}

void check_entry(const std::string& bytes) {
  static const std::string kKey(32, 'a');  // a digest's digits
  static const CubinStore kStore(fuzz::scratch_folder() / "store");
  static const std::filesystem::path kFile = [] {
    kStore.put(kKey, {"the cubin", "the log"});
    return kStore.folder() / cubin_name_of(kKey);
  }();
  static const std::string kWhole = [] {
    std::ifstream in(kFile, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  }();
  std::filesystem::remove(kFile);
  {
    std::ofstream out(kFile, std::ios::binary);
    // After a 0 the input's bytes are laid over a whole entry, so that most of it is right.
    if (!bytes.empty() && bytes.front() == '\0') {
      std::string damaged = kWhole;
      for (std::size_t i = 1; i + 1 < bytes.size(); i += 2)
        damaged[static_cast<unsigned char>(bytes[i]) % damaged.size()] = bytes[i + 1];
      out << damaged;
    } else {
      out << bytes;
    }
  }
  fuzz::accepts([&] {
    const std::optional<StoredCubin> entry = kStore.get(kKey);
    require(!entry || *entry == StoredCubin{"the cubin", "the log"}, "an entry that nobody stored");
  });
}

}  // namespace
}  // namespace flashtune

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  flashtune::check_elf(bytes);
  flashtune::check_entry(bytes);
  return 0;
}
