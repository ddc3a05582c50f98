// Compiles through the store.
#include "runtime/jit/kernel_compiler.h"

#include <fmt/format.h>

#include <charconv>
#include <mutex>
#include <string_view>
#include <utility>

#include "cache/error.h"
#include "cache/keys.h"
#include "runtime/jit/cubin.h"
#include "runtime/jit/nvrtc_search.h"

namespace flashtune {
namespace {

std::string kernel_key(const Source& source, const std::string& compiler) {
  return digest_of(fmt::format("kernel\n{}\n{}", source.digest, compiler));
}

/// Flags that NVRTC adds by itself are in a compiler's version, and here so that no other process is served with them.
std::string index_key(const Source& source) {
  return digest_of(fmt::format("index\n{}\n{}", source.digest, ambient_nvrtc_flags()));
}

int major_of_version(std::string_view version) {  // 13 of "nvrtc 13.0.88"
  constexpr std::string_view kPrefix = "nvrtc ";
  int major = 0;
  if (version.substr(0, kPrefix.size()) == kPrefix)
    std::from_chars(version.data() + kPrefix.size(), version.data() + version.size(), major);
  return major;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end != 0) lines.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

}  // namespace

struct KernelCompiler::State {
  explicit State(Options given)
      : options(std::move(given)), store({options.cubin_folder, options.cubin_limit, options.warn}) {
    if (options.template_root) own_templates = Templates::from_folder(*options.template_root);
  }

  Options options;
  std::optional<Templates> own_templates;
  KernelStore store;

  std::mutex mutex;  // guards:
  std::shared_ptr<const Nvrtc> loaded;

  const Templates& templates() const { return own_templates ? *own_templates : Templates::embedded(); }

  std::shared_ptr<const Nvrtc> nvrtc() {
    const std::lock_guard lock(mutex);
    if (!loaded) {
      std::vector<NvrtcPlace> places = nvrtc_places(options.nvrtc_hints);
      if (options.nvrtc_only_in) places.assign(options.nvrtc_only_in->begin(), options.nvrtc_only_in->end());
      loaded = Nvrtc::load_from(places, options.max_cuda_major);
    }
    return loaded;
  }

  std::vector<std::string> compilers_of(const Source& source) {
    const auto index = store.get(index_key(source));
    return index ? lines_of(index->log) : std::vector<std::string>();
  }

  std::optional<Compiled> stored(const Source& source, const std::string& compiler) {
    auto entry = store.get(kernel_key(source, compiler));
    if (!entry) return std::nullopt;
    Compiled compiled;
    try {
      compiled.facts = facts_of_cubin(entry->cubin, source.entry);
    } catch (const Error&) {  // a compiler's output that this version cannot read: it will say so of a new one, too
      return std::nullopt;
    }
    compiled.facts.spill_bytes = spill_bytes_of_log(entry->log);
    compiled.digest = digest_of(entry->cubin);
    compiled.cubin = std::move(entry->cubin);
    compiled.log = std::move(entry->log);
    compiled.compiler = compiler;
    compiled.ok = compiled.from_store = true;
    return compiled;
  }

  /// The kernel of the compiler that built this source last, among those whose code the driver can run.
  std::optional<Compiled> stored_by_any(const Source& source) {
    const std::vector<std::string> compilers = compilers_of(source);
    for (auto it = compilers.rbegin(); it != compilers.rend(); ++it) {
      const int major = major_of_version(*it);
      if (major == 0 || (options.max_cuda_major != 0 && major > options.max_cuda_major)) continue;
      if (auto found = stored(source, *it)) return found;
    }
    return std::nullopt;
  }

  /// The index is an entry without code whose log lists compilers, the last to build at the end. Two processes may race
  /// for it; the loser's line is missing then, which costs the next one a look with NVRTC loaded, and no more.
  void remember(const Source& source, const Compiled& compiled) {
    std::string index;
    for (const std::string& compiler : compilers_of(source))
      if (compiler != compiled.compiler) index += compiler + "\n";
    index += compiled.compiler + "\n";
    store.put(kernel_key(source, compiled.compiler), {compiled.cubin, compiled.log});
    store.put(index_key(source), {"", index});
  }
};

KernelCompiler::KernelCompiler(Options options) : state_(std::make_shared<State>(std::move(options))) {}

Compiled KernelCompiler::compile(const KernelSpec& spec) const {
  return compile_source(instantiate(spec, state_->templates()));
}

Compiled KernelCompiler::compile_source(const Source& source) const {
  if (!state_->options.this_compiler_only)
    if (auto found = state_->stored_by_any(source)) return *std::move(found);
  const std::shared_ptr<const Nvrtc> nvrtc = state_->nvrtc();
  if (auto found = state_->stored(source, nvrtc->version())) return *std::move(found);
  Compiled compiled = nvrtc->compile(source, state_->templates());
  if (compiled.ok) state_->remember(source, compiled);
  return compiled;
}

std::string KernelCompiler::version() const { return state_->nvrtc()->version(); }
std::filesystem::path KernelCompiler::nvrtc_path() const { return state_->nvrtc()->path(); }
std::vector<int> KernelCompiler::architectures() const { return state_->nvrtc()->architectures(); }
const Templates& KernelCompiler::templates() const { return state_->templates(); }

std::string KernelCompiler::store_problem() const { return state_->store.problem(); }

}  // namespace flashtune
