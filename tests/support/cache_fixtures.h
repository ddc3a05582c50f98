// For tests of the database and its files: temporary folders, sample records, and code run in another process.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>

#include "cache/error.h"
#include "cache/records.h"

namespace flashtune::testing {

/// A fresh folder, removed with all it holds when it goes. Others may read it: some tests give up their rights.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "flashtune-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + name);
    path_ = name;
    std::filesystem::permissions(path_, std::filesystem::perms(0755));
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(path_, ignored))
      if (std::filesystem::is_directory(entry.symlink_status(ignored)))
        std::filesystem::permissions(entry, std::filesystem::perms(0755), ignored);
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Names of the files of a folder tree, relative and sorted, folders left out. A link is a file, wherever it leads.
inline std::string files_of(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (!std::filesystem::is_directory(entry.symlink_status()))
      names.insert(entry.path().lexically_relative(folder).string());
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
  return all;
}

/// Starts `body` in a child process, which exits 0 when body returns true; a word on stderr says why it did not.
template <class Body>
pid_t start_child(Body&& body) {
  const pid_t child = fork();
  if (child != 0) return child;
  bool ok = false;
  try {
    ok = body();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "in the child process: %s\n", e.what());
  }
  _exit(ok ? 0 : 1);
}

inline bool ended_well(pid_t child) {
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// Runs `body` as a user whom permissions bind: root gives up its rights first.
template <class Body>
bool as_ordinary_user(Body&& body) {
  return ended_well(start_child([&] {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return false;
    return body();
  }));
}

/// The Error that `body` throws; another exception passes through, none fails the test.
template <class Body>
Error caught(Body&& body) {
  try {
    body();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "no Error was thrown";
  return {ErrorKind::kInternal, ""};
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline Problem sample_problem(int seq = 4096) {
  Problem p;
  p.batch = 4;
  p.heads = 32;
  p.kv_heads = 8;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = 128;
  p.causal = true;
  return with_layout(p, Layout::kBshd);
}

inline TrialKey sample_key(int br = 128) {
  PrefillMmaConfig config;
  config.br = br;
  return {{"NVIDIA H200", 132, 90}, {config}, sample_problem(), "00112233445566778899aabbccddeeff", "cold-graph/1"};
}

inline Trial sample_trial(int br = 128) {
  Trial t;
  t.key = sample_key(br);
  t.outcome = Outcome::kMeasured;
  t.detail = "it's \"fine\"; or so";
  t.attempts = 1;
  t.facts = {168, 8, 16, 1024, 128};
  t.timing = {123.456789012345678, 0.1, 99.5, 40, 1980};
  t.driver = "580.159.04";
  t.compiler = "nvrtc 13.0.88";
  t.when = "2026-11-20T10:00:00Z";
  return t;
}

/// As it was before it was stored.
inline Trial without_id(Trial trial) {
  trial.id = 0;
  return trial;
}

inline Best sample_best(int seq = 4096) {
  const Trial t = sample_trial();
  return {t.key.device,       sample_problem(seq), t.key.candidate, Grade::kMeasured, t.timing, 150.25,
          t.key.cubin_digest, t.key.policy,        t.driver,        t.compiler,       t.when};
}

}  // namespace flashtune::testing
