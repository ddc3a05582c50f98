// Loads NVRTC and compiles with it.
#include "runtime/jit/nvrtc.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nvrtc.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "cache/error.h"
#include "cache/keys.h"
#include "cache/paths.h"
#include "runtime/device/shared_library.h"
#include "runtime/jit/cubin.h"
#include "runtime/jit/nvrtc_search.h"

namespace flashtune {
namespace fs = std::filesystem;
namespace {

/// The functions of NVRTC that are used; all of them have been there since 12.0.
struct Functions {
  decltype(::nvrtcGetErrorString)* error_string;
  decltype(::nvrtcVersion)* version;
  decltype(::nvrtcGetNumSupportedArchs)* arch_count;
  decltype(::nvrtcGetSupportedArchs)* archs;
  decltype(::nvrtcCreateProgram)* create;
  decltype(::nvrtcDestroyProgram)* destroy;
  decltype(::nvrtcCompileProgram)* compile;
  decltype(::nvrtcGetCUBINSize)* cubin_size;
  decltype(::nvrtcGetCUBIN)* cubin;
  decltype(::nvrtcGetPTXSize)* ptx_size;
  decltype(::nvrtcGetPTX)* ptx;
  decltype(::nvrtcGetProgramLogSize)* log_size;
  decltype(::nvrtcGetProgramLog)* log;

  bool bind(const SharedLibrary& library) {
    return library.bind(error_string, "nvrtcGetErrorString") && library.bind(version, "nvrtcVersion") &&
           library.bind(arch_count, "nvrtcGetNumSupportedArchs") && library.bind(archs, "nvrtcGetSupportedArchs") &&
           library.bind(create, "nvrtcCreateProgram") && library.bind(destroy, "nvrtcDestroyProgram") &&
           library.bind(compile, "nvrtcCompileProgram") && library.bind(cubin_size, "nvrtcGetCUBINSize") &&
           library.bind(cubin, "nvrtcGetCUBIN") && library.bind(ptx_size, "nvrtcGetPTXSize") &&
           library.bind(ptx, "nvrtcGetPTX") && library.bind(log_size, "nvrtcGetProgramLogSize") &&
           library.bind(log, "nvrtcGetProgramLog");
  }
};

/// One program of NVRTC, destroyed when it goes.
class Program {
 public:
  Program(const Functions& nvrtc, const std::string& text, const std::string& name,
          const std::map<std::string, std::string>& headers)
      : nvrtc_(nvrtc) {
    std::vector<const char*> texts, names;
    for (const auto& [path, header] : headers) names.push_back(path.c_str()), texts.push_back(header.c_str());
    const nvrtcResult result = nvrtc_.create(&program_, text.c_str(), name.c_str(), static_cast<int>(names.size()),
                                             texts.data(), names.data());
    if (result != NVRTC_SUCCESS)
      throw Error(ErrorKind::kCompile, fmt::format("NVRTC could not begin a program: {}", nvrtc_.error_string(result)));
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { nvrtc_.destroy(&program_); }

  nvrtcResult compile(const std::vector<std::string>& options) {
    std::vector<const char*> pointers;
    pointers.reserve(options.size());
    for (const std::string& option : options) pointers.push_back(option.c_str());
    return nvrtc_.compile(program_, static_cast<int>(pointers.size()), pointers.data());
  }
  std::string cubin() const { return read(nvrtc_.cubin_size, nvrtc_.cubin); }
  std::string ptx() const { return read(nvrtc_.ptx_size, nvrtc_.ptx); }
  std::string log() const {
    std::string text = read(nvrtc_.log_size, nvrtc_.log);
    while (!text.empty() && text.back() == '\0') text.pop_back();
    return text;
  }

 private:
  std::string read(nvrtcResult (*size_of)(nvrtcProgram, std::size_t*), nvrtcResult (*get)(nvrtcProgram, char*)) const {
    std::size_t size = 0;
    if (size_of(program_, &size) != NVRTC_SUCCESS || size == 0) return {};
    std::string bytes(size, '\0');
    return get(program_, bytes.data()) == NVRTC_SUCCESS ? bytes : std::string();
  }

  const Functions& nvrtc_;
  nvrtcProgram program_ = nullptr;
};

/// The file that holds `function`, also when the loader found it by name.
fs::path file_of(nvrtcResult (*function)(int*, int*)) {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(function), &info) == 0 || info.dli_fname == nullptr) return {};
  return info.dli_fname;
}

/// "13.0.88" out of the PTX's first lines ("// Cuda compilation tools, release 13.0, V13.0.88"): the API gives no more
/// than "13.0". Nothing when they have another form.
std::string full_version_of_ptx(const std::string& ptx) {
  const std::size_t mark = ptx.find(", V");
  if (mark == std::string::npos) return {};
  const std::size_t begin = mark + 3;
  return ptx.substr(begin, ptx.find_first_not_of("0123456789.", begin) - begin);
}

int arch_of_target(const std::string& target) {  // 90 of "sm_90a"
  int arch = 0;
  if (target.rfind("sm_", 0) == 0) std::from_chars(target.data() + 3, target.data() + target.size(), arch);
  return arch;
}

constexpr const char* kHowToInstall =
    "Install the CUDA toolkit, or name the folder that holds libnvrtc.so (CUDA_HOME). In a checkout, scripts/setup "
    "puts "
    "NVIDIA's wheels into .cuda, where the checkout's own programs find them";

}  // namespace

struct Nvrtc::Impl {
  Functions call{};
  int major = 0, minor = 0;
  std::string version;
  fs::path path;
  std::vector<int> archs;

  bool at_least(int wanted_major, int wanted_minor) const {
    return std::pair(major, minor) >= std::pair(wanted_major, wanted_minor);
  }

  /// Opens one library and proves that it compiles; says why not in the returned text, which is empty when it does.
  std::string open(const std::string& name, bool is_named, int max_major) {
    const SharedLibrary library(name);
    if (!library) return library.why();
    if (!call.bind(library)) return "is no NVRTC of 12.0 or newer";
    if (call.version(&major, &minor) != NVRTC_SUCCESS) return "does not tell its version";
    if (major < kOldestNvrtcMajor)
      return fmt::format("is NVRTC {}.{}; 12.0 or newer is needed for C++20", major, minor);
    if (max_major != 0 && major > max_major)
      return fmt::format("is NVRTC {}.{}, but the driver runs no more than CUDA {}", major, minor, max_major);
    path = file_of(call.version);
    // The wheels' NVRTC has no run path: off the loader's path it would not find the builtins that lie beside it. Once
    // they are open, its own search is answered with them.
    const std::string builtins =
        nvrtc_companion(path, fmt::format("libnvrtc-builtins.so.{}.{}", major, minor), is_named);
    if (!builtins.empty()) SharedLibrary{builtins};
    int count = 0;
    if (call.arch_count(&count) != NVRTC_SUCCESS || count < 1) return "knows no architecture";
    archs.resize(static_cast<std::size_t>(count));
    if (call.archs(archs.data()) != NVRTC_SUCCESS) return "does not tell its architectures";
    return try_it();
  }

  /// Compiles nothing at all, for the version in the PTX and to see that the builtins are found.
  std::string try_it() {
    Program program(call, "", "empty.cu", {});
    const nvrtcResult result =
        program.compile(with_newer({fmt::format("--gpu-architecture=compute_{}", archs.front())}));
    if (result != NVRTC_SUCCESS)
      return fmt::format("cannot compile an empty program: {}. {}", call.error_string(result), program.log());
    const std::string full = full_version_of_ptx(program.ptx());
    version =
        fmt::format("nvrtc {}{}", full.empty() ? fmt::format("{}.{}", major, minor) : full, ambient_nvrtc_flags());
    return {};
  }

  /// `options`, and those that only newer compilers know; none of them changes the machine code.
  std::vector<std::string> with_newer(std::vector<std::string> options) const {
    if (at_least(12, 4)) options.push_back("--minimal");   // no textures, no runtime types: parses faster
    if (at_least(12, 9)) options.push_back("--no-cache");  // else the driver's cache may answer, with an empty log
    return options;
  }
};

Nvrtc::Nvrtc(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Nvrtc::~Nvrtc() = default;

std::string ambient_nvrtc_flags() {
  // The one look at the environment here: NVRTC reads this variable by itself, so what it will do can be known no other
  // way.
  const char* flags = std::getenv("NVRTC_APPEND_FLAGS");
  return flags != nullptr && *flags != '\0' ? fmt::format(" NVRTC_APPEND_FLAGS={}", flags) : std::string();
}

std::shared_ptr<const Nvrtc> Nvrtc::load(const std::vector<fs::path>& hints, int max_major) {
  return load_from(nvrtc_places(hints), max_major);
}

std::shared_ptr<const Nvrtc> Nvrtc::load_from(const std::vector<NvrtcPlace>& places, int max_major) {
  std::string story;
  for (const NvrtcPlace& place : places) {
    const NvrtcCandidates candidates = nvrtc_candidates(place, max_major);
    if (candidates.libraries.empty()) story += fmt::format("\n  {}: {}", place.path.string(), candidates.why_none);
    for (const std::string& library : candidates.libraries) {
      auto impl = std::make_unique<Impl>();
      const std::string why = impl->open(library, place.is_named, max_major);
      if (why.empty()) return std::shared_ptr<const Nvrtc>(new Nvrtc(std::move(impl)));
      story += fmt::format("\n  {}: {}", library, why);
    }
  }
  throw Error(ErrorKind::kCompile, fmt::format("NVRTC, which compiles the kernels, was not found. Looked in:{}\n{}.",
                                               story.empty() ? "\n  no place at all" : story, kHowToInstall));
}

std::string Nvrtc::version() const { return impl_->version; }
fs::path Nvrtc::path() const { return impl_->path; }
std::vector<int> Nvrtc::architectures() const { return impl_->archs; }

Compiled Nvrtc::compile(const Source& source, const Templates& templates) const {
  const auto begin = std::chrono::steady_clock::now();
  Compiled compiled;
  compiled.compiler = impl_->version;
  const std::vector<int>& archs = impl_->archs;
  if (std::find(archs.begin(), archs.end(), arch_of_target(source.target)) == archs.end()) {
    compiled.log = fmt::format("{} ({}) does not know {}; it knows sm_{}", impl_->version, impl_->path.string(),
                               source.target, fmt::join(archs, ", sm_"));
    return compiled;
  }
  Program program(impl_->call, source.text, source.entry + ".cu", templates.files());
  const nvrtcResult result = program.compile(impl_->with_newer(compile_options(source.target)));
  compiled.log = program.log();
  if (result == NVRTC_SUCCESS) {
    compiled.cubin = program.cubin();
    compiled.digest = digest_of(compiled.cubin);
    compiled.facts = facts_of_cubin(compiled.cubin, source.entry);
    compiled.facts.spill_bytes = spill_bytes_of_log(compiled.log);
    compiled.ok = true;
  } else if (result == NVRTC_ERROR_OUT_OF_MEMORY || result == NVRTC_ERROR_BUILTIN_OPERATION_FAILURE) {
    // The machine's fault, not the source's: it would say the same of any other.
    throw Error(ErrorKind::kCompile, fmt::format("{} ({}) failed: {}. {}", impl_->version, impl_->path.string(),
                                                 impl_->call.error_string(result), compiled.log));
  } else {
    compiled.log = fmt::format("{}{}", compiled.log.empty() ? impl_->call.error_string(result) : "", compiled.log);
  }
  compiled.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return compiled;
}

}  // namespace flashtune
