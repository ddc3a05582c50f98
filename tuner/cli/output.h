// Tables and records as text, JSON or CSV: one description of the columns serves all three.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace flashtune {

enum class Format : int { kTable = 0, kJson, kCsv };
constexpr const char* name_of(Format format) {
  return format == Format::kTable  ? "table"
         : format == Format::kJson ? "json"
         : format == Format::kCsv  ? "csv"
                                   : nullptr;
}

/// A value with its type, so that numbers stay numbers in JSON. An empty one (monostate) is null there and "-" in a
/// table.
using Cell = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

/// What `value` gives where there is something to show, else an empty one.
template <class Value>
Cell cell_if(bool there, Value&& value) {
  if (there) return value();
  return {};
}

struct Table {
  std::vector<std::string> columns;  // tokens: they are the JSON keys and the CSV header too
  std::vector<std::vector<Cell>> rows;
};

/// Aligned columns, an array of objects, or comma-separated values. Ends with a newline. What a terminal would obey in
/// the texts is escaped, in a table the ends of lines, too.
std::string render(const Table& table, Format format);

/// One thing with named values: "name  value" lines, or a JSON object on one line.
using Record = std::vector<std::pair<std::string, Cell>>;
std::string render(const Record& record, Format format);

/// "12.3 ms", "45.6 us": four digits at most.
std::string human_time(double microseconds);
/// "141.1 GiB".
std::string human_bytes(double bytes);

}  // namespace flashtune
