// The seal of a stored kernel: proof that a process of this user wrote it, for this key, with these bytes.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace flashtune {

/// 32 random bytes that this user's processes share through a file of mode 0600, and HMAC-SHA256 by them. Something
/// that can place a file but cannot read that one (an archive that unpacks into foreign folders, a service told to
/// write there) cannot make a seal. A seal made with another user's secret does not count.
class CubinSeal {
 public:
  /// The secret of a folder; nothing where there is none, or one that others may have read.
  static std::optional<CubinSeal> of(const std::filesystem::path& folder);
  /// The same, made where there is none. Throws Error(kIo).
  static CubinSeal of_or_new(const std::filesystem::path& folder);

  /// In hexadecimal, of the parts one after the other.
  std::string over(std::initializer_list<std::string_view> parts) const;
  /// Compares in a time that tells nothing.
  static bool same(std::string_view a, std::string_view b);

 private:
  explicit CubinSeal(std::string secret) : secret_(std::move(secret)) {}
  std::string secret_;
};

}  // namespace flashtune
