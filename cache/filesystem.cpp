// Facts of the file system, by statfs and access.
#include "cache/filesystem.h"

#include <fmt/format.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <system_error>

#include "cache/error.h"

namespace flashtune {
bool is_network_magic(long magic) {
  constexpr unsigned long kMagics[] = {
      0x6969,      // NFS
      0x517B,      // SMB
      0xFF534D42,  // CIFS
      0xFE534D42,  // SMB 2
      0x00C36400,  // Ceph
      0x0BD00BD0,  // Lustre
      0x47504653,  // GPFS
      0x19830326,  // BeeGFS
      0x01021997,  // 9P
      0x5346414F,  // AFS
      0x73757245,  // Coda
      0x01161970,  // GFS2
      0x7461636F,  // OCFS2
      0x65735546,  // FUSE
  };
  // statfs fills a signed field that some systems extend: only the low 32 bits count.
  const unsigned long low = static_cast<unsigned long>(magic) & 0xFFFFFFFFu;
  return std::find(std::begin(kMagics), std::end(kMagics), low) != std::end(kMagics);
}

bool is_on_network(const std::filesystem::path& path) {
  struct statfs facts {};
  std::error_code gone;  // the current folder; then opening the file says so
  for (std::filesystem::path p = std::filesystem::absolute(path, gone);; p = p.parent_path()) {
    if (statfs(p.c_str(), &facts) == 0) return is_network_magic(static_cast<long>(facts.f_type));
    if (p == p.parent_path()) return false;
  }
}

bool can_write_folder(const std::filesystem::path& folder) { return access(folder.c_str(), W_OK | X_OK) == 0; }

void create_folder(const std::filesystem::path& folder, const std::string& what, const std::string& remedy) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error && !std::filesystem::is_directory(folder, error)) error = std::make_error_code(std::errc::not_a_directory);
  if (error)
    throw Error(ErrorKind::kIo, fmt::format("cannot create the folder of {}, {}: {}; {}", what, folder.string(),
                                            error.message(), remedy));
}

std::filesystem::path user_folder(const char* xdg, const char* home, const char* under_home) {
  if (xdg != nullptr && xdg[0] == '/') return xdg;
  if (home != nullptr && home[0] != '\0') return std::filesystem::path(home) / under_home;
  return {};
}

}  // namespace flashtune
