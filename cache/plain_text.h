// Text that came from a file, on its way to a person: a terminal obeys what some bytes say, so names may not hold them,
// and what is printed shows them.
#pragma once

#include <string>
#include <string_view>

namespace flashtune {

/// What of a text is no character that a terminal merely draws: a control character (C0, DEL, C1), a mark that turns
/// the direction of writing or ends a line, or bytes that are no UTF-8. "" when there is nothing of the kind; else for
/// people: "the control character \x1b at byte 3".
std::string unplain_part(std::string_view text);
inline bool is_plain(std::string_view text) { return unplain_part(text).empty(); }

bool is_utf8(std::string_view text);

/// The text on one line, with all that is not plain as C writes it: "\n", "\t", "\x1b", "\xff".
std::string printable(std::string_view text);

/// The same, but lines and tabs stay: for what may be long, such as a compiler's message.
std::string printable_lines(std::string_view text);

/// A JSON text in which DEL and the C1 characters, which JSON leaves as they are and terminals obey, are escaped, too.
/// Its meaning stays: they can only stand in its strings.
std::string printable_json(std::string json);

}  // namespace flashtune
