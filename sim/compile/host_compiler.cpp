// Runs the compiler as a child process: the text goes through a pipe, the library through a file in memory.
#include "sim/compile/host_compiler.h"

#include <fmt/format.h>

#include "cache/error.h"
#include "sim/compile/child.h"
#include "sim/compile/memory_file.h"

namespace flashtune::sim {
namespace {

constexpr const char* kHowToInstall =
    "The simulated device compiles kernels with the system's C++ compiler (C++20: g++ 10 or clang++ 12 and later). "
    "Install one: apt install g++";

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

const std::vector<std::string>& HostCompiler::options() {
  // -O1 is a tenth of a second; -O2 takes twice that and runs no faster, since the work is in the simulator.
  static const std::vector<std::string> kOptions = {
    "-std=c++20",
    "-O1",
    "-w",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-math-errno",
    "-fno-stack-protector",
#if defined(FLASHTUNE_SIM_ASAN)
    "-fsanitize=address",
    "-fno-omit-frame-pointer",
#elif defined(FLASHTUNE_SIM_TSAN)
    "-fsanitize=thread",
    "-fno-omit-frame-pointer",
#endif
    "-nostdlib",  // what little of libc a kernel calls is in the process already
    "-s",
    "-x",
    "c++",
    "-",
  };
  return kOptions;
}

HostCompiler::HostCompiler(const std::string& command) {
  std::vector<std::string> tried = {"c++", "g++", "clang++"};
  if (!command.empty()) tried = {command};
  std::string broken;
  for (const std::string& name : tried) {
    const ChildResult answer = run_child({name, "--version"}, "");
    if (answer.status != 0) continue;
    command_ = name;
    version_ = first_line(answer.output);
    // One that answers may still lack its parts or its path: no candidate shall be blamed for that.
    const HostCompiled probe = compile("extern \"C\" int flashtune_probe() { return 0; }\n");
    if (probe.ok) return;
    broken = fmt::format("; {} cannot compile: {}", name, first_line(probe.log));
  }
  throw Error(ErrorKind::kCompile,
              fmt::format("no C++ compiler was found (tried {}{}). {}", fmt::join(tried, ", "), broken, kHowToInstall));
}

HostCompiled HostCompiler::compile(const std::string& text) const {
  const MemoryFile library("flashtune-kernel");
  std::vector<std::string> line = {command_};
  line.insert(line.end(), options().begin(), options().end());
  line.insert(line.end(), {"-o", library.path_for_children()});
  const ChildResult result = run_child(line, text);
  HostCompiled compiled;
  compiled.ok = result.status == 0;
  compiled.log = result.output;
  if (compiled.ok) compiled.library = library.read();
  return compiled;
}

}  // namespace flashtune::sim
