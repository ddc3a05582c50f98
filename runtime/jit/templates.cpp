// The template tree, from the embedded table or from a folder.
#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <utility>

#include "cache/error.h"
#include "cache/keys.h"
#include "runtime/jit/embedded.h"
#include "runtime/jit/source.h"

namespace flashtune {
namespace fs = std::filesystem;
namespace {

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in) throw Error(ErrorKind::kIo, fmt::format("cannot read the template {}", path.string()));
  return text;
}

std::map<std::string, std::string> embedded_files() {
  std::map<std::string, std::string> files;
  for (unsigned long i = 0; i < kEmbeddedTemplateCount; ++i) {
    const EmbeddedFile& file = kEmbeddedTemplates[i];
    files.emplace(file.path, std::string(file.bytes, file.bytes + file.size));
  }
  return files;
}

}  // namespace

Templates::Templates(std::map<std::string, std::string> files) : files_(std::move(files)) {
  std::string all;
  for (const auto& [path, text] : files_) all += fmt::format("{} {}\n{}", path, text.size(), text);
  digest_ = digest_of(all);
}

const Templates& Templates::embedded() {
  static const Templates templates(embedded_files());
  return templates;
}

Templates Templates::from_folder(const fs::path& root) {
  const fs::path tree = root / "flashtune";
  std::error_code error;
  fs::recursive_directory_iterator entries(tree, error);
  if (error)
    throw Error(ErrorKind::kNotFound,
                fmt::format("{} holds no template tree: {}: {}. Name the folder that holds flashtune/kernels, "
                            "in a checkout templates/",
                            root.string(), tree.string(), error.message()));
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& entry : entries) {
    const std::string extension = entry.path().extension().string();
    if (entry.is_regular_file() && (extension == ".h" || extension == ".cuh"))
      files.emplace(fs::relative(entry.path(), root).generic_string(), read_text(entry.path()));
  }
  if (files.empty()) throw Error(ErrorKind::kNotFound, fmt::format("{} holds no .cuh or .h file", tree.string()));
  return Templates(std::move(files));
}

}  // namespace flashtune
