// What lies in a folder of compiled kernels: which files are ours, how much they take, which go when that is too much.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string_view>
#include <vector>

namespace flashtune {

/// How every file of the store begins, in all versions: what does not is another's, and stays.
constexpr std::string_view kCubinMagic = "flashtune-cubin ";

constexpr std::uintmax_t kDefaultCubinLimit = std::uintmax_t{1} << 30;
/// What $FLASHTUNE_CUBIN_LIMIT says: bytes, or a number of K, M, G or T, at least 1M. The default for nullptr and "".
/// Throws Error(kInvalidArgument).
std::uintmax_t cubin_limit_of(const char* text);

/// The name of the file of a key, which is a digest (32 hexadecimal digits).
bool is_cubin_key(std::string_view key);
std::string cubin_name_of(std::string_view key);

struct CubinFile {
  std::filesystem::path path;
  std::uintmax_t bytes = 0;
  timespec used{};  // when it was last written or served
};

/// Plain files of this user with the name of a stored kernel, the longest unused first. Empty where the folder cannot
/// be read.
std::vector<CubinFile> cubins_in(const std::filesystem::path& folder);
std::uintmax_t bytes_of(const std::vector<CubinFile>& files);

/// Deletes it, unless it is no file of the store, or was written or served since it was listed. Whether it is gone.
bool remove_cubin(const CubinFile& file);

/// Deletes those longest unused until all together take no more than `limit`. Safe beside others that read, write or do
/// the same: at worst, something is compiled again.
void trim_cubins(const std::filesystem::path& folder, std::uintmax_t limit);

/// Deletes what writers left that were killed: plain files of this user, of a temporary's name, an hour old.
void remove_abandoned(const std::filesystem::path& folder);

}  // namespace flashtune
