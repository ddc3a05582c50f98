// Builds the bytes of a small cubin.
#include "tests/support/cubin_builder.h"

namespace flashtune {
namespace {

template <class T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

/// A record of .nv.info: format 4, attribute, size, payload.
void append_record(std::string& bytes, std::uint8_t attribute, const std::vector<std::uint32_t>& words) {
  append(bytes, std::uint8_t{4});
  append(bytes, attribute);
  append(bytes, static_cast<std::uint16_t>(4 * words.size()));
  for (const std::uint32_t word : words) append(bytes, word);
}

struct Part {
  std::string name;
  std::uint32_t type;
  std::string data;
  std::uint64_t size;
  std::uint32_t link;
};

}  // namespace

std::string CubinBuilder::bytes() const {
  const std::string symbol_names = std::string("\0", 1) + entry + '\0';
  std::string symbols(sizeof(Elf64_Sym), '\0');
  Elf64_Sym symbol{};
  symbol.st_name = 1;
  symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
  append(symbols, symbol);

  std::string info, entry_info, code;
  append_record(info, 0x2f, {0, 99});  // of another function, before ours
  append_record(info, 0x2f, {1, registers});
  append_record(info, 0x11, {1, frame});
  append(entry_info, std::uint32_t{0x00000103});  // a record without a payload: format 3
  append_record(entry_info, 0x05, {max_threads[0], max_threads[1], max_threads[2]});
  for (const std::uint16_t opcode : opcodes) {
    append(code, static_cast<std::uint16_t>(opcode | 0x7000));  // the predicate's bits must not count
    code.append(14, '\x5a');
  }

  std::vector<Part> parts = {{"", SHT_NULL, "", 0, 0},
                             {".strtab", SHT_STRTAB, symbol_names, symbol_names.size(), 0},
                             {".symtab", SHT_SYMTAB, symbols, symbols.size(), 1},
                             {".nv.info", SHT_LOPROC, info, info.size(), 2},
                             {".nv.info." + entry, SHT_LOPROC, entry_info, entry_info.size(), 2},
                             {".text." + entry, SHT_PROGBITS, code, code.size(), 2}};
  if (shared_bytes != 0) parts.push_back({".nv.shared." + entry, SHT_NOBITS, "", shared_bytes, 0});
  if (!constants.empty()) parts.push_back({".nv.constant2." + entry, SHT_PROGBITS, constants, constants.size(), 0});
  std::string section_names;
  for (const Part& part : parts) section_names += part.name + '\0';
  section_names += std::string(".shstrtab") + '\0';
  parts.push_back({".shstrtab", SHT_STRTAB, section_names, section_names.size(), 0});

  std::string body;
  std::string table;
  std::size_t name = 0;
  for (const Part& part : parts) {
    Elf64_Shdr header{};
    header.sh_name = static_cast<std::uint32_t>(name);
    header.sh_type = part.type;
    header.sh_offset = sizeof(Elf64_Ehdr) + body.size();
    header.sh_size = part.size;
    header.sh_link = part.link;
    append(table, header);
    body += part.data;
    name += part.name.size() + 1;
  }
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_ABIVERSION] = new_abi ? 8 : 7;
  header.e_machine = 190;
  header.e_flags = static_cast<std::uint32_t>(arch) << (new_abi ? 8 : 0);
  header.e_shoff = sizeof(Elf64_Ehdr) + body.size();
  header.e_shnum = static_cast<std::uint16_t>(parts.size());
  header.e_shstrndx = static_cast<std::uint16_t>(parts.size() - 1);
  std::string bytes;
  append(bytes, header);
  return bytes + body + table;
}

}  // namespace flashtune
