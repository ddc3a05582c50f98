// Nettle's HMAC, the system's random numbers.
#include "cache/cubin_seal.h"

#include <fmt/format.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "cache/own_files.h"
#include "cache/written_file.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSecretBytes = 32;
constexpr const char* kSecretName = ".flashtune-secret";

std::string new_secret(const WriteErrand& errand) {
  std::string secret(kSecretBytes, '\0');
  if (::getentropy(secret.data(), secret.size()) != 0) throw WriteError(errand, errno);
  return secret;
}

const std::uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

}  // namespace

std::optional<CubinSeal> CubinSeal::of(const fs::path& folder) {
  std::optional<std::string> secret = read_own_file(folder / kSecretName, kSecretBytes, kOthersMayAnything);
  if (!secret || secret->size() != kSecretBytes) return std::nullopt;
  return CubinSeal(*std::move(secret));
}

CubinSeal CubinSeal::of_or_new(const fs::path& folder) {
  if (auto there = of(folder)) return *std::move(there);
  const fs::path path = folder / kSecretName;
  const WriteErrand errand{"the secret of compiled kernels", path,
                           "make its folder writable, or name another one for compiled kernels"};
  TemporaryFile file(folder, errand, 0600);
  file.write(new_secret(errand));
  // Of processes that race, the first one's counts for all.
  file.publish_as_new(path);
  if (auto there = of(folder)) return *std::move(there);
  throw Error(ErrorKind::kIo,
              fmt::format("{} is not the file of yours, of mode 0600 and {} bytes, that flashtune makes; "
                          "remove it, or name another folder for compiled kernels",
                          path.string(), kSecretBytes));
}

std::string CubinSeal::over(std::initializer_list<std::string_view> parts) const {
  hmac_sha256_ctx state;
  hmac_sha256_set_key(&state, secret_.size(), bytes_of(secret_));
  for (const std::string_view part : parts) hmac_sha256_update(&state, part.size(), bytes_of(part));
  std::array<std::uint8_t, SHA256_DIGEST_SIZE> digest{};
  hmac_sha256_digest(&state, digest.size(), digest.data());
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

bool CubinSeal::same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && memeql_sec(a.data(), b.data(), a.size()) != 0;
}

}  // namespace flashtune
