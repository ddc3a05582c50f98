// The system's C++ compiler as a function: text in, shared library out.
#pragma once

#include <string>
#include <vector>

namespace flashtune::sim {

struct HostCompiled {
  bool ok = false;
  std::string library;  // its bytes
  std::string log;
};

class HostCompiler {
 public:
  /// `command`: a compiler's name or path; empty: the first of c++, g++, clang++ that answers. Throws Error(kCompile)
  /// saying how to install one.
  explicit HostCompiler(const std::string& command = "");

  /// Thread-safe.
  HostCompiled compile(const std::string& text) const;
  /// The first line of --version.
  const std::string& version() const { return version_; }
  /// The options of every compile; they belong into the key of what is stored.
  static const std::vector<std::string>& options();

 private:
  std::string command_, version_;
};

}  // namespace flashtune::sim
