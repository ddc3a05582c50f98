// What each field of a config is to those who search, compile and launch: a config names its fields and their roles.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

namespace flashtune {

/// What a field of a config is. Fields of a structure shape the pipeline (tiles, warps, stages, where Q lies, the
/// register budget). The others make its variants: they move its time by little, or much the same in all structures.
/// Fields of a launch are variants that the compiler does not see.
enum class Role : int {
  kStructure = 0,
  kVariant = 1,
  kKind = 2,        // a variant that sets candidates of one structure apart by more than the cost model can tell
  kLaunch = 3,      // a variant that is not compiled in
  kLaunchKind = 4,  // both
  kLaunchSize = 5,  // not compiled in, and fits a launch to the GPU: it says nothing of how alike two candidates are
};

constexpr bool is_compiled(Role role) {
  return role == Role::kStructure || role == Role::kVariant || role == Role::kKind;
}
constexpr bool is_variant(Role role) { return role != Role::kStructure; }
constexpr bool is_kind(Role role) { return role == Role::kKind || role == Role::kLaunchKind; }

/// Each config has a static member visit(f, configs...), which calls f(name, role, fields...) for each field in the
/// order of the struct, with that field of each of the configs. This calls f(name, field) alike, for whoever asks for
/// no role. Codec, space and source generation all go through here.
template <class Config, class F>
constexpr void visit_fields(Config& config, F&& f) {
  Config::visit([&f](const char* name, Role, auto& field) { f(name, field); }, config);
}

/// The part of a config that the compiler sees: configs that differ elsewhere share a cubin.
template <class Config>
constexpr Config compiled_part(Config config) {
  const Config usual{};
  Config::visit(
      [](const char*, Role role, auto& field, const auto& value) {
        if (!is_compiled(role)) field = value;
      },
      config, usual);
  return config;
}

}  // namespace flashtune
