// Cuts before it escapes, so that a text of any length costs no more than what is shown of it.
#include "cache/excerpt.h"

#include <fmt/format.h>

#include "cache/plain_text.h"

namespace flashtune {

std::string excerpt_of(std::string_view text, std::size_t most) {
  if (text.size() <= most) return printable(text);
  std::size_t end = most;  // not within a character
  while (end > 0 && most - end < 3 && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80) --end;
  return fmt::format("{}... ({} bytes)", printable(text.substr(0, end)), text.size());
}

}  // namespace flashtune
