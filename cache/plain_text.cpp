// Reads UTF-8, one character at a time.
#include "cache/plain_text.h"

#include <fmt/format.h>

#include <cstdint>

namespace flashtune {
namespace {

/// The character that a text begins with, and its bytes; of bytes that are no UTF-8 (cut, overlong, a surrogate), one.
struct Character {
  std::uint32_t code = 0;
  std::size_t size = 1;
  bool valid = false;
};

Character first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {};
  std::uint32_t code = lead & (0xFFu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0u) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  const bool overlong = code < (size == 3 ? 0x800u : size == 4 ? 0x10000u : 0x80u);
  const bool exists = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
  return overlong || !exists ? Character{} : Character{code, size, true};
}

/// Whether a terminal draws it and does nothing else.
bool is_drawn(const Character& c) {
  if (!c.valid || c.code < 0x20 || (c.code >= 0x7F && c.code < 0xA0)) return false;
  const bool turns = (c.code >= 0x202A && c.code <= 0x202E) || (c.code >= 0x2066 && c.code <= 0x2069) ||
                     c.code == 0x200E || c.code == 0x200F || c.code == 0x061C;
  const bool ends_line = c.code == 0x2028 || c.code == 0x2029;
  return !turns && !ends_line;
}

std::string escape_of(std::string_view bytes) {
  if (bytes == "\n") return "\\n";
  if (bytes == "\t") return "\\t";
  if (bytes == "\r") return "\\r";
  std::string text;
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

std::string escaped(std::string_view text, bool keep_lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = first_of(text);
    const std::string_view bytes = text.substr(0, c.size);
    const bool kept = is_drawn(c) || (keep_lines && (c.code == '\n' || c.code == '\t') && c.valid);
    out += kept ? std::string(bytes) : escape_of(bytes);
    text.remove_prefix(c.size);
  }
  return out;
}

}  // namespace

std::string unplain_part(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Character c = first_of(text.substr(at));
    const std::string_view bytes = text.substr(at, c.size);
    if (!c.valid) return fmt::format("the byte {} at byte {}, which is no UTF-8", escape_of(bytes), at);
    if (!is_drawn(c)) return fmt::format("the control character {} at byte {}", escape_of(bytes), at);
    at += c.size;
  }
  return {};
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Character c = first_of(text.substr(at));
    if (!c.valid) return false;
    at += c.size;
  }
  return true;
}

std::string printable(std::string_view text) { return escaped(text, false); }

std::string printable_lines(std::string_view text) { return escaped(text, true); }

std::string printable_json(std::string json) {
  const auto needs = [&](std::size_t i) {
    const auto byte = [&](std::size_t j) { return static_cast<unsigned char>(json[j]); };
    return byte(i) == 0x7F || (byte(i) == 0xC2 && i + 1 < json.size() && byte(i + 1) >= 0x80 && byte(i + 1) < 0xA0);
  };
  std::size_t at = 0;
  while (at < json.size() && !needs(at)) ++at;
  if (at == json.size()) return json;
  std::string out = json.substr(0, at);
  for (; at < json.size(); ++at) {
    if (!needs(at)) {
      out += json[at];
    } else if (json[at] == '\x7F') {
      out += "\\u007f";
    } else {
      out += fmt::format("\\u00{:02x}", static_cast<unsigned char>(json[++at]));
    }
  }
  return out;
}

}  // namespace flashtune
