// posix_spawn with stdin and stdout as pipes.
#include "sim/compile/child.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <system_error>

#include "cache/error.h"
#include "cache/no_sigpipe.h"

extern char** environ;

namespace flashtune::sim {
namespace {

/// Both ends of a pipe; no child inherits them but through posix_spawn's own dup2.
struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    if (pipe2(ends, O_CLOEXEC) != 0)
      throw Error(ErrorKind::kIo, std::string("cannot make a pipe to the C++ compiler: ") + std::strerror(errno));
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() { close_end(0), close_end(1); }
  void close_end(int i) {
    if (ends[i] >= 0) close(ends[i]);
    ends[i] = -1;
  }
};

/// Feeds and drains at once: either side alone could fill a pipe and wait for ever.
std::string exchange(Pipe& in, Pipe& out, const std::string& input) {
  fcntl(in.ends[1], F_SETFL, O_NONBLOCK);
  std::string output;
  std::size_t sent = 0;
  if (input.empty()) in.close_end(1);
  for (char buffer[4096];;) {
    pollfd waits[] = {{out.ends[0], POLLIN, 0}, {in.ends[1], POLLOUT, 0}};  // poll ignores a closed end's -1
    if (poll(waits, 2, -1) < 0 && errno != EINTR) break;
    if (waits[1].revents != 0) {
      const ssize_t n = write(in.ends[1], input.data() + sent, input.size() - sent);
      if (n > 0) sent += static_cast<std::size_t>(n);
      if (sent == input.size() || (n < 0 && errno != EAGAIN && errno != EINTR)) in.close_end(1);
    }
    if (waits[0].revents != 0) {
      const ssize_t n = read(out.ends[0], buffer, sizeof buffer);
      if (n > 0) output.append(buffer, static_cast<std::size_t>(n));
      if (n == 0 || (n < 0 && errno != EINTR)) break;
    }
  }
  return output;
}

/// The folders of $PATH, but those that are relative: an empty part of it would mean the working folder, and whatever
/// program somebody has put there.
std::vector<std::string> program_folders() {
  std::vector<std::string> folders;
  const char* path = std::getenv("PATH");
  std::istringstream parts(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string part; std::getline(parts, part, ':');)
    if (part.starts_with('/')) folders.push_back(part);
  return folders;
}

/// The program's file: itself where it has a slash, else the first of that name; empty when there is none.
std::string find_program(const std::string& name, const std::vector<std::string>& folders) {
  if (name.find('/') != std::string::npos) return name;
  for (const std::string& folder : folders) {
    std::string file = folder;
    file += '/';
    file += name;
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error) && access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

/// This process's environment with a PATH of these folders: a compiler looks there for its assembler.
std::vector<std::string> environment_with(const std::vector<std::string>& folders) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!std::string_view(*variable).starts_with("PATH=")) variables.emplace_back(*variable);
  std::string path = "PATH=";
  for (const std::string& folder : folders) path += (path.back() == '=' ? "" : ":") + folder;
  variables.push_back(std::move(path));
  return variables;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

}  // namespace

ChildResult run_child(const std::vector<std::string>& arguments, const std::string& input) {
  const std::vector<std::string> folders = program_folders(), variables = environment_with(folders);
  const std::string program = find_program(arguments.front(), folders);
  if (program.empty()) return {127, std::strerror(ENOENT)};
  const std::vector<char*> argv = pointers(arguments), envp = pointers(variables);
  Pipe in, out;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.ends[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], 2);
  pid_t child = 0;
  const int error = posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return {127, std::strerror(error)};
  in.close_end(0);
  out.close_end(1);
  const NoSigpipe no_signal;
  ChildResult result;
  result.output = exchange(in, out, input);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace flashtune::sim
