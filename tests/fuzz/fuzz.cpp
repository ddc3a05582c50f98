// Findings, words, and places for files.
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cache/plain_text.h"

namespace flashtune::fuzz {
namespace {

/// Whether `text` holds `words`, given backwards. libFuzzer learns from what a program compares, and would write these
/// words into its inputs: it does not see this comparison.
__attribute__((no_sanitize("coverage"))) bool holds_backwards(const std::string& text, std::string_view words) {
  for (std::size_t at = 0; at + words.size() <= text.size(); ++at) {
    std::size_t same = 0;
    while (same < words.size() && text[at + same] == words[words.size() - 1 - same]) ++same;
    if (same == words.size()) return true;
  }
  return false;
}

}  // namespace

void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "flashtune's finding: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

void require_own_words(const std::string& message) {
  // What libraries say of themselves: json.exception, filesystem error, _M_range_check, basic_string::, std::bad
  for (const char* raw : {"noitpecxe.nosj", "rorre metsyselif", "kcehc_egnar_M_", "::gnirts_cisab", "dab::dts"})
    require(!holds_backwards(message, raw), "a library's words in: " + message);
  require(printable_lines(message) == message, "a terminal would obey: " + message);
  require(!message.empty(), "a refusal without a word");
}

MemoryFile::MemoryFile(std::string_view bytes) : descriptor_(memfd_create("flashtune-fuzz", MFD_CLOEXEC)) {
  require(descriptor_ >= 0, "no file in memory");
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    require(written > 0, "the file in memory takes no more");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

MemoryFile::~MemoryFile() { ::close(descriptor_); }

std::filesystem::path MemoryFile::path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

const std::filesystem::path& scratch_folder() {
  struct Folder {
    std::filesystem::path path;
    Folder() {
      const bool memory = ::access("/dev/shm", W_OK | X_OK) == 0;
      std::string name = ((memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
                          "flashtune-fuzz-XXXXXX")
                             .string();
      require(mkdtemp(name.data()) != nullptr, "no folder for files");
      path = name;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static const Folder kFolder;
  return kFolder.path;
}

}  // namespace flashtune::fuzz
