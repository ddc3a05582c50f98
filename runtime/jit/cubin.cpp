// Reads a cubin's ELF, every access checked against its size. What a record means is not in NVIDIA's documents; it was
// found by comparing with ptxas's log (registers, stack) and with kernels of known bounds.
#include "runtime/jit/cubin.h"

#include <elf.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "cache/error.h"

namespace flashtune {
namespace {

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorKind::kInternal, "not a readable cubin: " + what); }

template <class T>
T read_at(std::string_view bytes, std::uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T))
    fail(fmt::format("it ends at byte {}, before what should stand at {}", bytes.size(), offset));
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::string_view slice(std::string_view bytes, std::uint64_t offset, std::uint64_t size) {
  if (offset > bytes.size() || bytes.size() - offset < size)
    fail(fmt::format("{} bytes at {} reach past its end at {}", size, offset, bytes.size()));
  return bytes.substr(offset, size);
}

std::string_view text_at(std::string_view table, std::uint64_t offset) {
  if (offset >= table.size()) fail("a name outside its string table");
  return table.substr(offset, table.find('\0', offset) - offset);
}

struct Section {
  std::string_view name;
  Elf64_Shdr header;
};

/// The parts of an ELF file that are of use here.
class Elf {
 public:
  explicit Elf(std::string_view bytes) : bytes_(bytes) {
    header_ = read_at<Elf64_Ehdr>(bytes, 0);
    if (std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0 || header_.e_ident[EI_CLASS] != ELFCLASS64)
      fail("no 64-bit ELF");
    if (header_.e_machine != EM_CUDA) fail(fmt::format("ELF machine {} is not CUDA", header_.e_machine));
    const std::string_view names = data_of(section_header(header_.e_shstrndx));
    for (unsigned i = 0; i < header_.e_shnum; ++i) {
      const Elf64_Shdr section = section_header(i);
      sections_.push_back({text_at(names, section.sh_name), section});
    }
  }

  /// 90 for sm_90. The place moved when NVRTC 13 raised the ABI version to 8.
  int arch() const {
    const bool is_new = header_.e_ident[EI_ABIVERSION] >= 8;
    return static_cast<int>((header_.e_flags >> (is_new ? 8 : 0)) & 0xffu);
  }

  const Section* find(std::string_view name) const {
    for (const Section& section : sections_)
      if (section.name == name) return &section;
    return nullptr;
  }
  std::string_view data_of(const Elf64_Shdr& section) const {
    return section.sh_type == SHT_NOBITS ? std::string_view() : slice(bytes_, section.sh_offset, section.sh_size);
  }

  /// The symbol's index, by which records of .nv.info name their function.
  std::optional<std::uint32_t> symbol_index(std::string_view name) const {
    for (const Section& section : sections_) {
      if (section.header.sh_type != SHT_SYMTAB) continue;
      const std::string_view symbols = data_of(section.header);
      const std::string_view names = data_of(section_header(section.header.sh_link));
      for (std::uint32_t i = 0; i < symbols.size() / sizeof(Elf64_Sym); ++i) {
        const auto symbol = read_at<Elf64_Sym>(symbols, i * sizeof(Elf64_Sym));
        if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && text_at(names, symbol.st_name) == name) return i;
      }
    }
    return std::nullopt;
  }

 private:
  Elf64_Shdr section_header(std::uint64_t index) const {
    if (header_.e_shoff > bytes_.size()) fail("its section table lies past its end");
    return read_at<Elf64_Shdr>(bytes_, header_.e_shoff + index * sizeof(Elf64_Shdr));
  }

  std::string_view bytes_;
  Elf64_Ehdr header_{};
  std::vector<Section> sections_;
};

/// Calls visit(attribute, payload) for each record: u8 format, u8 attribute, u16 value or size, and after format 4 size
/// bytes.
template <class F>
void visit_records(std::string_view info, F&& visit) {
  constexpr std::uint8_t kSized = 4;
  for (std::uint64_t at = 0; at + 4 <= info.size();) {
    const auto size =
        read_at<std::uint8_t>(info, at) == kSized ? read_at<std::uint16_t>(info, at + 2) : std::uint16_t{0};
    visit(read_at<std::uint8_t>(info, at + 1), slice(info, at + 4, size));
    at += 4 + size;
  }
}

constexpr std::uint8_t kRegisterCount = 0x2f;  // in .nv.info: u32 symbol, u32 count
constexpr std::uint8_t kFrameSize = 0x11;      // in .nv.info: u32 symbol, u32 bytes
constexpr std::uint8_t kMaxThreads = 0x05;     // in .nv.info.<entry>: u32 x, y, z

/// Shared memory that the system keeps for itself at the beginning of each block's, which .nv.shared counts from sm_90
/// on.
constexpr int kReservedSmem = 1024;

int bounded(std::uint64_t value) { return static_cast<int>(value & 0x7fffffff); }

/// Instructions from sm_70 on are 16 bytes long; the low 12 bits name the operation.
struct Mnemonic {
  unsigned opcode;
  const char* name;
};
constexpr Mnemonic kMnemonics[] = {
    {0x23c, "HMMA"}, {0xdf0, "HGMMA"}, {0x9f0, "HGMMA"}, {0x83b, "LDSM"},    {0xfae, "LDGSTS"},
    {0x387, "STL"},  {0x983, "LDL"},   {0x308, "MUFU"},  {0x5b4, "UTMALDG"},
};

const char* mnemonic_of(unsigned opcode) {
  for (const Mnemonic& mnemonic : kMnemonics)
    if (mnemonic.opcode == opcode) return mnemonic.name;
  return "other";
}

std::string_view code_of(const Elf& elf, std::string_view entry) {
  const Section* section = elf.find(fmt::format(".text.{}", entry));
  if (section == nullptr) fail(fmt::format("it holds no kernel named {}", entry));
  const std::string_view code = elf.data_of(section->header);
  if (code.empty()) fail(fmt::format("its kernel {} has no instructions", entry));
  return code;
}

/// The number that stands before `words` in the log, summed over all places.
int sum_before(std::string_view log, std::string_view words) {
  std::int64_t sum = 0;
  for (std::size_t at = log.find(words); at != std::string_view::npos; at = log.find(words, at + words.size())) {
    std::size_t begin = at;
    while (begin > 0 && log[begin - 1] >= '0' && log[begin - 1] <= '9') --begin;
    std::int64_t number = 0;
    std::from_chars(log.data() + begin, log.data() + at, number);
    sum += number;
  }
  return bounded(static_cast<std::uint64_t>(sum));
}

}  // namespace

KernelFacts facts_of_cubin(std::string_view cubin, std::string_view entry) {
  const Elf elf(cubin);
  code_of(elf, entry);
  const auto symbol = elf.symbol_index(entry);
  KernelFacts facts;
  if (const Section* info = elf.find(".nv.info"); info != nullptr && symbol)
    visit_records(elf.data_of(info->header), [&](std::uint8_t attribute, std::string_view payload) {
      if ((attribute != kRegisterCount && attribute != kFrameSize) || read_at<std::uint32_t>(payload, 0) != *symbol)
        return;
      (attribute == kRegisterCount ? facts.registers : facts.stack_bytes) = bounded(read_at<std::uint32_t>(payload, 4));
    });
  if (const Section* info = elf.find(fmt::format(".nv.info.{}", entry)))
    visit_records(elf.data_of(info->header), [&](std::uint8_t attribute, std::string_view payload) {
      if (attribute != kMaxThreads) return;
      std::uint64_t threads = 1;
      for (std::uint64_t at = 0; at < 12; at += 4)
        threads = (threads * read_at<std::uint32_t>(payload, at)) & 0x7fffffff;
      facts.max_threads = bounded(threads);
    });
  if (const Section* shared = elf.find(fmt::format(".nv.shared.{}", entry))) {
    facts.smem_static = bounded(shared->header.sh_size);
    if (elf.arch() >= 90 && facts.smem_static >= kReservedSmem) facts.smem_static -= kReservedSmem;
  }
  if (facts.registers == 0) fail(fmt::format("it does not say how many registers {} takes", entry));
  return facts;
}

std::string_view code_in_cubin(std::string_view cubin, std::string_view entry) { return code_of(Elf(cubin), entry); }

std::string_view constants_in_cubin(std::string_view cubin, std::string_view entry) {
  const Elf elf(cubin);
  code_of(elf, entry);
  const Section* section = elf.find(fmt::format(".nv.constant2.{}", entry));
  return section == nullptr ? std::string_view() : elf.data_of(section->header);
}

int spill_bytes_of_log(std::string_view log) {
  return sum_before(log, " bytes spill stores") + sum_before(log, " bytes spill loads");
}

std::string serialisation_in_log(std::string_view log) {
  const std::size_t at = log.find("wgmma.mma_async instructions are serialized");
  if (at == std::string_view::npos) return {};
  const std::size_t before = log.rfind('\n', at), begin = before == std::string_view::npos ? 0 : before + 1;
  const std::string_view line = log.substr(begin, log.find('\n', at) - begin);
  const std::size_t prefix = line.find(": ");  // of "ptxas info    : "
  return std::string(line.substr(prefix == std::string_view::npos ? 0 : prefix + 2));
}

std::map<std::string, int> instruction_mix(std::string_view cubin, std::string_view entry) {
  constexpr std::uint64_t kInstructionBytes = 16;
  const std::string_view code = code_in_cubin(cubin, entry);
  std::map<std::string, int> mix;
  for (std::uint64_t at = 0; at + kInstructionBytes <= code.size(); at += kInstructionBytes)
    ++mix[mnemonic_of(read_at<std::uint16_t>(code, at) & 0xfffu)];
  return mix;
}

}  // namespace flashtune
