// Foreign text in messages: what a terminal would obey is escaped, and what is long is cut.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace flashtune {

constexpr std::size_t kMostExcerpt = 160;  // bytes: about two lines of a terminal

/// `text` as a message may show it: printable(), and cut where it is longer than `most` bytes, with its length said.
std::string excerpt_of(std::string_view text, std::size_t most = kMostExcerpt);

}  // namespace flashtune
