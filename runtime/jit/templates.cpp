// The template tree, from the embedded table or from a folder.
#include <fmt/format.h>

#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cache/error.h"
#include "cache/keys.h"
#include "cache/read_file.h"
#include "runtime/jit/embedded.h"
#include "runtime/jit/source.h"

namespace flashtune {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMostTemplateBytes = std::size_t{16} << 20;

std::map<std::string, std::string> embedded_files() {
  std::map<std::string, std::string> files;
  for (unsigned long i = 0; i < kEmbeddedTemplateCount; ++i) {
    const EmbeddedFile& file = kEmbeddedTemplates[i];
    files.emplace(file.path,
                  std::string(reinterpret_cast<const char*>(file.bytes), file.size));  // at once, not by bytes
  }
  return files;
}

}  // namespace

Templates::Templates(std::map<std::string, std::string> files) : files_(std::move(files)) {
  // Not joined: the first call of a process waits for this.
  std::vector<std::string> heads;
  for (const auto& [path, text] : files_) heads.push_back(fmt::format("{} {}\n", path, text.size()));
  std::vector<std::string_view> parts;
  auto head = heads.begin();
  for (const auto& [path, text] : files_) parts.insert(parts.end(), {*head++, text});
  digest_ = digest_of_all(parts);
}

const Templates& Templates::embedded() {
  static const Templates templates(embedded_files());
  return templates;
}

Templates Templates::from_folder(const fs::path& root) {
  const fs::path tree = root / "flashtune";
  std::error_code error;
  fs::recursive_directory_iterator entries(tree, error);
  std::map<std::string, std::string> files;
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    const fs::path& path = entries->path();
    std::error_code unknown;  // what a link that leads nowhere is
    if (entries->is_regular_file(unknown) && (path.extension() == ".h" || path.extension() == ".cuh"))
      files.emplace(path.lexically_relative(root).generic_string(), read_text(path, kMostTemplateBytes, "a template"));
  }
  if (error)
    throw Error(ErrorKind::kNotFound,
                fmt::format("{} holds no template tree: {}: {}. Name the folder that holds flashtune/kernels, "
                            "in a checkout templates/",
                            root.string(), tree.string(), error.message()));
  if (files.empty()) throw Error(ErrorKind::kNotFound, fmt::format("{} holds no .cuh or .h file", tree.string()));
  return Templates(std::move(files));
}

}  // namespace flashtune
