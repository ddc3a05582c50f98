// fork, exec, wait.
#include "tests/support/run_program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace flashtune {
namespace {

std::string read_all(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void redirect(const char* path, int flags, int to) {
  const int file = open(path, flags, 0600);
  if (file < 0 || dup2(file, to) < 0) _exit(127);
  close(file);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

/// Starts the program with its output in files of `scratch`.
pid_t start(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
            const ScratchFolder& scratch) {
  const std::string out = scratch.path() / "out", err = scratch.path() / "err";
  std::vector<std::string> arguments_copy = arguments, variables;
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  std::vector<char*> argv = pointers(arguments_copy), envp = pointers(variables);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    redirect(out.c_str(), O_WRONLY | O_CREAT, STDOUT_FILENO);
    redirect(err.c_str(), O_WRONLY | O_CREAT, STDERR_FILENO);
    execve(argv.front(), argv.data(), envp.data());
    _exit(127);
  }
  return child;
}

ProgramResult result_of(int status, const ScratchFolder& scratch) {
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_all(scratch.path() / "out"),
          read_all(scratch.path() / "err")};
}

}  // namespace

ProgramResult run_program(const std::vector<std::string>& arguments,
                          const std::map<std::string, std::string>& environment) {
  const ScratchFolder scratch;
  const pid_t child = start(arguments, environment, scratch);
  int status = 0;
  waitpid(child, &status, 0);
  return result_of(status, scratch);
}

ProgramResult run_program_until(const std::vector<std::string>& arguments,
                                const std::map<std::string, std::string>& environment, const std::string& marker,
                                int signal) {
  const ScratchFolder scratch;
  const pid_t child = start(arguments, environment, scratch);
  int status = 0;
  for (bool sent = false; waitpid(child, &status, sent ? 0 : WNOHANG) == 0;) {
    sent = read_all(scratch.path() / "out").find(marker) != std::string::npos;
    if (sent) kill(child, signal);
    usleep(1000);
  }
  return result_of(status, scratch);
}

ScratchFolder::ScratchFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "flashtune-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> ScratchFolder::contents() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path_))
    names.push_back(std::filesystem::relative(entry.path(), path_).string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace flashtune
