// Replaces includes by what they name.
#include "sim/compile/amalgamate.h"

#include <fmt/format.h>

#include <set>
#include <sstream>
#include <string_view>

#include "cache/error.h"

namespace flashtune::sim {
namespace {

constexpr std::string_view kInclude = "#include \"";

class Amalgamation {
 public:
  explicit Amalgamation(const std::map<std::string, std::string>& headers) : headers_(headers) {}

  void add(const std::string& name, const std::string& text) {
    std::istringstream lines(text);
    int number = 1;
    result_ += fmt::format("#line 1 \"{}\"\n", name);
    for (std::string line; std::getline(lines, line); ++number) {
      if (line.rfind(kInclude, 0) == 0) {
        include(line.substr(kInclude.size(), line.rfind('"') - kInclude.size()), name, number);
        result_ += fmt::format("#line {} \"{}\"\n", number + 1, name);
      } else {
        result_ += line == "#pragma once" ? "\n" : line + "\n";
      }
    }
  }
  std::string result() && { return std::move(result_); }

 private:
  void include(const std::string& path, const std::string& from, int line) {
    const auto found = headers_.find(path);
    if (found == headers_.end())
      throw Error(ErrorKind::kCompile,
                  fmt::format("{}:{} includes \"{}\", which the template tree does not hold", from, line, path));
    if (seen_.insert(path).second) add(path, found->second);
  }

  const std::map<std::string, std::string>& headers_;
  std::set<std::string> seen_;
  std::string result_;
};

}  // namespace

std::string amalgamate(const std::string& text, const std::map<std::string, std::string>& headers) {
  Amalgamation all(headers);
  all.add("kernel.cu", text);
  return std::move(all).result();
}

}  // namespace flashtune::sim
