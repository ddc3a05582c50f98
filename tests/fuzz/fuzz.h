// What the fuzz targets share: findings are ends of the process, and a refusal is judged by its words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "cache/database.h"
#include "cache/error.h"

namespace flashtune::fuzz {

/// Ends the process with `what` unless `holds`: libFuzzer keeps the input and reports it.
void require(bool holds, std::string_view what);

/// A refusal is told in flashtune's own words, which a terminal does not obey, whatever stands in the input.
void require_own_words(const std::string& message);

/// Whether `body` comes to its end. It may throw an Error, of which the words are judged; anything else that it throws
/// ends the process.
template <class Body>
bool accepts(Body&& body) {
  try {
    body();
    return true;
  } catch (const Error& error) {
    require_own_words(error.what());
    return false;
  }
}

/// Runs `body` on a database whose records it may change, and undoes that: making a new one for each input costs more
/// than the rest.
template <class Body>
void undone(Database& db, Body&& body) {
  struct Undo {};
  try {
    db.transaction([&] {
      body();
      throw Undo();
    });
  } catch (const Undo&) {
  }
}

/// A file in memory that holds `bytes` and has a name for as long as the object lives.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes);
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile();
  std::filesystem::path path() const;

 private:
  int descriptor_;
};

/// A folder of this process alone, in memory where the system has such a place, removed at its end.
const std::filesystem::path& scratch_folder();

}  // namespace flashtune::fuzz

/// libFuzzer's entry, which each target defines: one input.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);  // NOLINT: its name is libFuzzer's
