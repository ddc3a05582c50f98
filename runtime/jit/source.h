// A candidate as CUDA source: includes its template, a constexpr config with named fields, static_asserts that host and
// device agree, and one extern "C" entry.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cache/records.h"

namespace flashtune {

/// What to compile: a candidate specialised for some traits on one architecture.
struct KernelSpec {
  Candidate candidate;
  KernelTraits traits;
  int arch = 80;
  bool operator==(const KernelSpec&) const = default;
};

struct Source {
  std::string text;
  std::string entry;   // name of the extern "C" kernel
  std::string target;  // "sm_80", or the a-form a family needs
  std::string digest;  // of text, every header of the template tree, and the compile options
};

/// The template tree: embedded in the library, or read from a folder (--template-root) for edit and run.
class Templates {
 public:
  /// The embedded text.
  static const Templates& embedded();
  /// Reads DIR/flashtune/**. Throws Error(kNotFound) when DIR holds no such tree.
  static Templates from_folder(const std::filesystem::path& root);
  /// Logical path ("flashtune/kernels/prefill_mma.cuh") to text.
  const std::map<std::string, std::string>& files() const { return files_; }
  /// Of every path and text.
  const std::string& digest() const { return digest_; }

 private:
  explicit Templates(std::map<std::string, std::string> files);
  std::map<std::string, std::string> files_;
  std::string digest_;
};

/// The options of every compile for `target`, but for those that only some compilers know and that change no machine
/// code.
std::vector<std::string> compile_options(const std::string& target);

/// The candidate as its compiler sees it: candidates that are equal in this have one cubin.
Candidate compiled_part(const Candidate& candidate);

/// The name of the extern "C" kernel of a candidate, and of the one that follows it where a plan says so; "" when none
/// does.
std::string entry_of(const Candidate& candidate);
std::string combine_entry_of(const Candidate& candidate);

/// Kernels that belong to no family, as their compiler sees them: `text` includes from the template tree, and `entry`
/// is the kernel of whose facts Compiled speaks.
Source make_source(std::string text, std::string entry, std::string target, const Templates& templates);

/// Throws Error(kInvalidArgument) with the reason for a config that rejection_of does not admit.
Source instantiate(const KernelSpec& spec, const Templates& templates);

}  // namespace flashtune
