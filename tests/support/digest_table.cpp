// Writes, reads and compares the table.
#include "tests/support/digest_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "cache/codec.h"
#include "cache/error.h"
#include "tests/support/watched_kernels.h"

namespace flashtune {
namespace {

constexpr std::string_view kBetween = " | ";
constexpr std::string_view kUnfused = "unfused";
constexpr const char* kHead =
    "# Code digests of the kernels that tests/support/watched_kernels.h chooses, as the compiler named below makes "
    "them.\n"
    "# Written by build/dev/tests/compile_test_code_digests --update. A line: architecture | problem, which stands for "
    "all\n"
    "# of its traits | candidate | kernel | digest | bytes of code, registers, and bytes of stack, spills and shared "
    "memory.\n";

struct Figure {
  const char* name;
  int CodeDigest::*value;
};
constexpr Figure kFigures[] = {{"registers", &CodeDigest::registers},
                               {"stack", &CodeDigest::stack_bytes},
                               {"spills", &CodeDigest::spill_bytes},
                               {"static", &CodeDigest::smem_static},
                               {"dynamic", &CodeDigest::smem_dynamic}};

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::kInvalidArgument, what); }

std::vector<std::string_view> split(std::string_view text, std::string_view between) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t at = text.find(between);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + between.size());
  }
}

template <class T>
T number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    refuse(fmt::format("'{}' is no number of bytes or registers", text));
  return value;
}

int arch_of(std::string_view text) {
  if (text.substr(0, 3) != "sm_") refuse(fmt::format("'{}' is no architecture; one is sm_90", text));
  return number<int>(text.substr(3));
}

/// "text 1024, registers 168, ...".
std::string figures_to_text(const CodeDigest& code) {
  std::string text = fmt::format("text {}", code.text_bytes);
  for (const Figure& figure : kFigures) text += fmt::format(", {} {}", figure.name, code.*figure.value);
  return text;
}

CodeDigest code_from_text(std::string_view digest, std::string_view figures) {
  CodeDigest code;
  code.digest = std::string(digest);
  if (digest.size() != 32 || digest.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    refuse(fmt::format("'{}' is no digest of 32 hex digits", digest));
  const std::vector<std::string_view> parts = split(figures, ", ");
  const auto value_of = [](std::string_view part, std::string_view name) {
    if (part.substr(0, name.size()) != name || part.substr(name.size(), 1) != " ")
      refuse(fmt::format("'{}' stands where '{} N' should", part, name));
    return part.substr(name.size() + 1);
  };
  if (parts.size() != 1 + std::size(kFigures)) refuse(fmt::format("'{}' are not all figures", figures));
  code.text_bytes = number<std::size_t>(value_of(parts[0], "text"));
  for (std::size_t i = 0; i < std::size(kFigures); ++i)
    code.*kFigures[i].value = number<int>(value_of(parts[i + 1], kFigures[i].name));
  return code;
}

DigestRow row_from_text(std::string_view line) {
  const std::vector<std::string_view> parts = split(line, kBetween);
  if (parts.size() == 5 && parts[1] == kUnfused)
    return {unfused_kernel_text(arch_of(parts[0]), std::string(parts[2])), code_from_text(parts[3], parts[4])};
  if (parts.size() != 6) refuse(fmt::format("{} parts between ' | ' are no kernel with its digest", parts.size()));
  const KernelSpec spec{candidate_from_text(parts[2]), traits_of(problem_from_text(parts[1])), arch_of(parts[0])};
  return {kernel_text(spec, std::string(parts[3])), code_from_text(parts[4], parts[5])};
}

/// "registers 168 -> 170, stack 0, ...": every figure, so that nobody must look up the rest.
std::string change_of(const CodeDigest& from, const CodeDigest& to) {
  const auto step = [](const char* name, auto a, auto b) {
    return a == b ? fmt::format("{} {}", name, a) : fmt::format("{} {} -> {}", name, a, b);
  };
  std::string text = step("text", from.text_bytes, to.text_bytes);
  for (const Figure& figure : kFigures) text += ", " + step(figure.name, from.*figure.value, to.*figure.value);
  return text + (from.digest == to.digest ? "" : fmt::format("; digest {} -> {}", from.digest, to.digest));
}

}  // namespace

std::string kernel_text(const KernelSpec& spec, const std::string& entry) {
  return fmt::format("sm_{}{}{}{}{}{}{}", spec.arch, kBetween, problem_to_text(typical_problem(spec.traits)), kBetween,
                     candidate_to_text(spec.candidate), kBetween, entry);
}

std::string unfused_kernel_text(int arch, const std::string& entry) {
  return fmt::format("sm_{}{}{}{}{}", arch, kBetween, kUnfused, kBetween, entry);
}

std::string digest_table_to_text(const DigestTable& table) {
  std::string text = fmt::format("{}{}\n", kHead, table.compiler);
  for (const DigestRow& row : table.rows)
    text += fmt::format("{}{}{}{}{}\n", row.kernel, kBetween, row.code.digest, kBetween, figures_to_text(row.code));
  return text;
}

ReadDigestTable digest_table_from_text(std::string_view text) {
  ReadDigestTable read;
  std::set<std::string> seen;
  int number = 0;
  for (const std::string_view line : split(text, "\n")) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    if (read.table.compiler.empty()) {
      read.table.compiler = std::string(line);
      continue;
    }
    try {
      read.table.rows.push_back(row_from_text(line));
      if (!seen.insert(read.table.rows.back().kernel).second) refuse("the kernel stands there twice");
    } catch (const Error& error) {
      read.faults.push_back(fmt::format("line {}: {}", number, error.what()));
    }
  }
  if (read.table.rows.empty()) read.faults.push_back("no line holds a kernel");
  return read;
}

std::vector<std::string> differences(const DigestTable& recorded, const DigestTable& found) {
  std::map<std::string, CodeDigest> old_rows;
  for (const DigestRow& row : recorded.rows) old_rows.emplace(row.kernel, row.code);
  std::vector<std::string> texts;
  if (recorded.compiler != found.compiler)
    texts.push_back(fmt::format("recorded with {}, compiled with {}", recorded.compiler, found.compiler));
  for (const DigestRow& row : found.rows) {
    const auto old = old_rows.find(row.kernel);
    if (old == old_rows.end()) {
      texts.push_back(fmt::format("{}: not recorded ({})", row.kernel, figures_to_text(row.code)));
      continue;
    }
    if (!(old->second == row.code))
      texts.push_back(fmt::format("{}: changed: {}", row.kernel, change_of(old->second, row.code)));
    old_rows.erase(old);
  }
  for (const auto& [kernel, code] : old_rows)
    texts.push_back(fmt::format("{}: recorded, and no longer among the kernels that are watched", kernel));
  return texts;
}

}  // namespace flashtune
