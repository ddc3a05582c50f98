// Amalgamates, compiles, keeps.
#include "sim/sim_compiler.h"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <mutex>
#include <variant>

#include "cache/error.h"
#include "cache/keys.h"
#include "flashtune/shared/resources.h"
#include "sim/compile/amalgamate.h"
#include "sim/compile/embedded_primitives.h"
#include "sim/compile/host_compiler.h"

namespace flashtune {
namespace {

/// Exports the kernels. The text above it defines each entry, which takes its parameters by value.
std::string export_of(const std::vector<std::string>& entries) {
  std::string kernels;
  for (const std::string& entry : entries)
    kernels += fmt::format(R"(    {{flashtune::sim::kKernelVersion, "{0}", flashtune::sim::params_bytes_of(&{0}),
     [](const flashtune::sim::Calls* calls) {{ flashtune::sim::calls = calls; }},
     [](const void* params) {{ flashtune::sim::run_with(&{0}, params); }}}},
)",
                           entry);
  return fmt::format(R"(
#line 1 "sim_export"
extern "C" __attribute__((visibility("default"))) const flashtune::sim::Kernel flashtune_sim_kernels[] = {{
{}    {{flashtune::sim::kKernelVersion, nullptr, 0, nullptr, nullptr}},
}};
)",
                     kernels);
}

/// The template tree with the simulator's primitives in the place of the GPU's.
std::map<std::string, std::string> headers_of(const Templates& templates) {
  std::map<std::string, std::string> headers = templates.files();
  for (unsigned long i = 0; i < kEmbeddedSimPrimitiveCount; ++i) {
    const EmbeddedFile& file = kEmbeddedSimPrimitives[i];
    headers[file.path] = std::string(file.bytes, file.bytes + file.size);
  }
  return headers;
}

KernelFacts predicted_facts(const KernelSpec& spec) {
  const Resources r = std::visit([&](const auto& c) { return resources_of(c, spec.traits, limits_of(spec.arch)); },
                                 spec.candidate.config);
  KernelFacts facts;
  facts.registers = r.registers < r.register_cap ? r.registers : r.register_cap;
  facts.max_threads = r.threads;
  return facts;
}

}  // namespace

struct SimCompiler::State {
  explicit State(Options given) : options(std::move(given)), store({options.folder, options.limit, options.warn}) {
    if (options.template_root) own_templates = Templates::from_folder(*options.template_root);
    headers = headers_of(templates());
  }

  Options options;
  std::optional<Templates> own_templates;
  KernelStore store;
  std::map<std::string, std::string> headers;
  std::mutex mutex;
  std::optional<sim::HostCompiler> found;

  const Templates& templates() const { return own_templates ? *own_templates : Templates::embedded(); }

  const sim::HostCompiler& compiler() {
    const std::lock_guard lock(mutex);
    if (!found) found.emplace(options.compiler);
    return *found;
  }
};

SimCompiler::SimCompiler(Options options) : state_(std::make_shared<State>(std::move(options))) {}

Compiled SimCompiler::compile(const KernelSpec& spec) const {
  const Source source = instantiate(spec, state_->templates());
  std::vector<std::string> entries = {source.entry};
  if (const std::string combine = combine_entry_of(spec.candidate); !combine.empty()) entries.push_back(combine);
  Compiled compiled = compile_text(source.text, entries);
  compiled.facts = predicted_facts(spec);
  return compiled;
}

Compiled SimCompiler::compile_text(const std::string& text, const std::vector<std::string>& entries) const {
  const auto start = std::chrono::steady_clock::now();
  const std::string unit = sim::amalgamate(text, state_->headers) + export_of(entries);
  const sim::HostCompiler& compiler = state_->compiler();
  const std::string key =
      digest_of(fmt::format("sim\n{}\n{}\n{}", compiler.version(), fmt::join(sim::HostCompiler::options(), " "), unit));
  Compiled compiled;
  compiled.compiler = compiler.version();
  if (auto stored = state_->store.get(key)) {
    compiled.ok = compiled.from_store = true;
    compiled.cubin = std::move(stored->cubin);
    compiled.log = std::move(stored->log);
  } else {
    sim::HostCompiled made = compiler.compile(unit);
    compiled.ok = made.ok;
    compiled.cubin = std::move(made.library);
    compiled.log = std::move(made.log);
    compiled.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (compiled.ok) state_->store.put(key, {compiled.cubin, compiled.log});
  }
  compiled.digest = digest_of(compiled.cubin);
  return compiled;
}

std::string SimCompiler::version() const { return state_->compiler().version(); }

}  // namespace flashtune
