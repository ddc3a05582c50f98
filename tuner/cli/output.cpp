// Renders tables and records.
#include "tuner/cli/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cache/plain_text.h"

namespace flashtune {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

std::string double_text(double value) {
  const double size = std::fabs(value);
  if (size != 0 && (size < 0.001 || size >= 1e7)) return fmt::format("{:.3e}", value);
  return size >= 1000 ? fmt::format("{:.0f}", value) : fmt::format("{:.4g}", value);
}

std::string cell_text(const Cell& cell) {
  return std::visit(Overloaded{[](std::monostate) { return std::string("-"); },
                               [](bool value) { return std::string(value ? "yes" : "no"); },
                               [](std::int64_t value) { return fmt::format("{}", value); },
                               [](double value) { return double_text(value); },
                               [](const std::string& value) { return value.empty() ? "-" : printable(value); }},
                    cell);
}

bool is_number(const Cell& cell) {
  return std::holds_alternative<std::int64_t>(cell) || std::holds_alternative<double>(cell);
}

nlohmann::ordered_json cell_json(const Cell& cell) {
  return std::visit(Overloaded{[](std::monostate) { return nlohmann::ordered_json(); },
                               [](const auto& value) { return nlohmann::ordered_json(value); }},
                    cell);
}

std::string csv_field(const Cell& cell) {
  if (std::holds_alternative<std::monostate>(cell)) return "";
  if (const double* value = std::get_if<double>(&cell)) return fmt::format("{}", *value);
  const auto* held = std::get_if<std::string>(&cell);
  const std::string text = held != nullptr ? printable_lines(*held) : cell_text(cell);
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

/// Bytes that are not UTF-8 (a foreign file's text) are replaced rather than thrown over.
std::string dump(const nlohmann::ordered_json& json, int indent = -1) {
  return printable_json(json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) + "\n";
}

std::string table_text(const Table& table) {
  std::vector<std::size_t> widths;
  for (const std::string& column : table.columns) widths.push_back(column.size());
  for (const auto& row : table.rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], cell_text(row[i]).size());

  std::string text;
  const auto append = [&](std::size_t i, const std::string& value, bool right) {
    const std::size_t pad = widths[i] - value.size();
    text += fmt::format("{}{:{}}{}{:{}}", i > 0 ? "  " : "", "", right ? pad : 0, value, "", right ? 0 : pad);
  };
  const auto end_line = [&] {
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  };
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    append(i, table.columns[i], !table.rows.empty() && is_number(table.rows.front()[i]));
  end_line();
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) append(i, cell_text(row[i]), is_number(row[i]));
    end_line();
  }
  return text;
}

}  // namespace

std::string render(const Table& table, Format format) {
  if (format == Format::kTable) return table_text(table);
  if (format == Format::kCsv) {
    std::string text = fmt::format("{}\n", fmt::join(table.columns, ","));
    for (const auto& row : table.rows) {
      std::vector<std::string> fields;
      for (const Cell& cell : row) fields.push_back(csv_field(cell));
      text += fmt::format("{}\n", fmt::join(fields, ","));
    }
    return text;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const auto& row : table.rows) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < row.size(); ++i) object[table.columns[i]] = cell_json(row[i]);
    json.push_back(std::move(object));
  }
  return dump(json, 1);
}

std::string render(const Record& record, Format format) {
  if (format == Format::kJson) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (const auto& [name, value] : record) object[name] = cell_json(value);
    return dump(object);
  }
  std::size_t width = 0;
  for (const auto& [name, value] : record) width = std::max(width, name.size());
  std::string text;
  for (const auto& [name, value] : record) text += fmt::format("{:<{}}  {}\n", name, width, cell_text(value));
  return text;
}

std::string human_time(double microseconds) {
  if (microseconds >= 1e6) return fmt::format("{:.4g} s", microseconds / 1e6);
  if (microseconds >= 1e3) return fmt::format("{:.4g} ms", microseconds / 1e3);
  return fmt::format("{:.4g} us", microseconds);
}

std::string human_bytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit) bytes /= 1024;
  return fmt::format("{:.4g} {}", bytes, units[unit]);
}

}  // namespace flashtune
