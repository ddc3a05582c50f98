// Writes the CUDA source of a candidate. A new family is one more row of kFamilies.
#include "runtime/jit/source.h"

#include <fmt/format.h>

#include <type_traits>
#include <utility>
#include <variant>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/keys.h"
#include "flashtune/shared/fields.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/resources.h"

namespace flashtune {
namespace {

/// What the source of a family is made from, besides its token: that names flashtune/kernels/<token>.cuh and the device
/// function in it, `template <Config, KernelTraits> void <token>(const Params&)`.
struct FamilySource {
  const char* config;
  const char* params;
  std::size_t params_bytes;
  bool needs_a_form;  // uses instructions that only sm_90a, sm_100a, ... have
};
constexpr FamilySource kFamilies[] = {
    {"PrefillMmaConfig", "PrefillParams", sizeof(PrefillParams), false},
    {"DecodeSplitConfig", "DecodeParams", sizeof(DecodeParams), false},
    {"KvAppendConfig", "AppendParams", sizeof(AppendParams), false},
    {"PrefillWgmmaConfig", "PrefillWgmmaParams", sizeof(PrefillWgmmaParams), true},
    {"PrefillTf32Config", "PrefillParams", sizeof(PrefillParams), false},
    {"PrefillScalarConfig", "PrefillScalarParams", sizeof(PrefillScalarParams), false},
    {"PrefillFragmentConfig", "PrefillScalarParams", sizeof(PrefillScalarParams), false},
    {"DecodeScalarConfig", "DecodeParams", sizeof(DecodeParams), false},
};
static_assert(std::size(kFamilies) == std::variant_size_v<AnyConfig>, "every family has its row");

void require_admitted(const KernelSpec& spec) {
  const Rejection rejection = std::visit(
      [&](const auto& c) { return rejection_of(c, spec.traits, limits_of(spec.arch)); }, spec.candidate.config);
  if (rejection != Rejection::kNone)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("{} cannot be compiled for sm_{} and head dim {}: {}", candidate_to_text(spec.candidate),
                            spec.arch, spec.traits.head_dim, text_of(rejection)));
}

/// ".br = 128,", and for an enumerator its value, checked by the compiler, with its token beside it for people.
template <class Field>
std::string initialiser(const char* type, const char* name, const Field& value) {
  if constexpr (std::is_enum_v<Field>)
    return fmt::format("    .{0} = decltype({1}::{0}){{{2}}},  // {3}\n", name, type, static_cast<int>(value),
                       name_of(value));
  else
    return fmt::format("    .{} = {},\n", name, value);
}

template <class Config>
std::string config_fields(Config config) {
  std::string text;
  visit_fields(config, [&](const char* name, const auto& value) { text += initialiser("Config", name, value); });
  return text;
}

std::string traits_fields(const KernelTraits& traits) {
  std::string text;
  visit_traits(traits, [&](const char* name, const auto& value) {
    text += initialiser("flashtune::KernelTraits", name, value);
  });
  return text;
}

/// An extern "C" kernel around a device function of the family.
std::string kernel_text(const FamilySource& family, const std::string& entry, const std::string& function, int threads,
                        int blocks_per_sm) {
  return fmt::format(
      R"(
extern "C" __global__ void __launch_bounds__({}, {})
{}(const __grid_constant__ flashtune::{} params) {{
  flashtune::{}<kConfig, kTraits>(params);
}}
)",
      threads, blocks_per_sm, entry, family.params, function);
}

std::string source_text(const FamilySource& family, const KernelSpec& spec) {
  const std::string token = name_of(spec.candidate.family());
  const std::string config = std::visit([](const auto& c) { return config_fields(c); }, spec.candidate.config);
  const ArchLimits limits = limits_of(spec.arch);
  const auto [resources, blocks_per_sm] =
      std::visit([&](const auto& c) { return std::pair(resources_of(c, spec.traits, limits), c.blocks_per_sm); },
                 spec.candidate.config);
  std::string kernels = kernel_text(family, entry_of(spec.candidate), token, resources.threads, blocks_per_sm);
  if (const std::string combine = combine_entry_of(spec.candidate); !combine.empty())
    kernels += kernel_text(family, combine, "decode_combine", resources.threads, 1);
  return fmt::format(
      R"(// {token} for sm_{arch}, written by flashtune.
#include "flashtune/kernels/{token}.cuh"
#include "flashtune/shared/params.h"
#include "flashtune/shared/resources.h"

namespace {{
using Config = flashtune::{config_type};
constexpr Config kConfig{{
{config}}};
constexpr flashtune::KernelTraits kTraits{{
{traits}}};
constexpr flashtune::ArchLimits kLimits = flashtune::limits_of({arch});
constexpr flashtune::Resources kResources = flashtune::resources_of(kConfig, kTraits, kLimits);

// The host launches by its own reckoning; a compiler that reckons otherwise must not go unnoticed.
static_assert(flashtune::rejection_of(kConfig, kTraits, kLimits) == flashtune::Rejection::kNone, "not admitted");
static_assert(kResources.threads == {threads}, "host and device disagree on the threads of a block");
static_assert(kResources.smem_bytes == {smem}, "host and device disagree on shared memory");
static_assert(sizeof(flashtune::{params}) == {params_bytes}, "host and device disagree on the parameters");
}}  // namespace
{kernels})",
      fmt::arg("token", token), fmt::arg("arch", spec.arch), fmt::arg("config_type", family.config),
      fmt::arg("config", config), fmt::arg("traits", traits_fields(spec.traits)),
      fmt::arg("threads", resources.threads), fmt::arg("smem", resources.smem_bytes), fmt::arg("params", family.params),
      fmt::arg("params_bytes", family.params_bytes), fmt::arg("kernels", kernels));
}

}  // namespace

std::vector<std::string> compile_options(const std::string& target) {
  return {
      "--gpu-architecture=" + target,  // sm_, never compute_: only then does ptxas judge the inline PTX
      "--std=c++20",
      "-default-device",     // the shared headers' constexpr functions carry no __device__
      "--ptxas-options=-v",  // the log then says how many bytes spill
  };
}

std::string entry_of(const Candidate& candidate) { return fmt::format("flashtune_{}", name_of(candidate.family())); }

Candidate compiled_part(const Candidate& candidate) {
  return std::visit([](const auto& config) -> Candidate { return {compiled_part(config)}; }, candidate.config);
}

std::string combine_entry_of(const Candidate& candidate) {
  const auto merges_by_kernel = [](const auto& config) {
    if constexpr (SplitsKeys<decltype(config)>)
      return config.merge == Merge::kKernel;
    else
      return false;
  };
  return std::visit(merges_by_kernel, candidate.config) ? "flashtune_decode_combine" : "";
}

Source make_source(std::string text, std::string entry, std::string target, const Templates& templates) {
  Source source{std::move(text), std::move(entry), std::move(target), ""};
  const std::string options = fmt::format("{}", fmt::join(compile_options(source.target), " "));
  source.digest = digest_of(fmt::format("{}\n{}\n{}", options, templates.digest(), source.text));
  return source;
}

Source instantiate(const KernelSpec& given, const Templates& templates) {
  require_admitted(given);
  const KernelSpec spec{compiled_part(given.candidate), given.traits, given.arch};
  const FamilySource& family = kFamilies[spec.candidate.config.index()];
  return make_source(source_text(family, spec), entry_of(spec.candidate),
                     fmt::format("sm_{}{}", spec.arch, family.needs_a_form ? "a" : ""), templates);
}

}  // namespace flashtune
