// The public structs begin with their size, so that they can grow: which sizes there are, and what is read of each.
//
// A field is appended, never inserted, and not into the padding at the end of an older version: sizeof tells the
// versions apart. 0, or a null pointer, means of it what the library did before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "flashtune/flashtune.h"

namespace flashtune {

/// A public struct as people know it.
struct StructVersions {
  const char* name;
  const char* begin;    // what sets the size: a macro or a function of the header
  std::uint32_t first;  // bytes in version 0.1
};

/// Those of the header; a test has structs of its own.
template <class Struct>
constexpr StructVersions kVersionsOf{};
template <>
inline constexpr StructVersions kVersionsOf<ft_problem>{"ft_problem", "ft_problem_init()", 160};
template <>
inline constexpr StructVersions kVersionsOf<ft_tensors>{"ft_tensors", "FT_TENSORS_INIT", 88};
template <>
inline constexpr StructVersions kVersionsOf<ft_append_tensors>{"ft_append_tensors", "FT_APPEND_TENSORS_INIT", 168};
template <>
inline constexpr StructVersions kVersionsOf<ft_options>{"ft_options", "FT_OPTIONS_INIT", 72};
template <>
inline constexpr StructVersions kVersionsOf<ft_decision>{"ft_decision", "FT_DECISION_INIT", 16};

/// Throws Error(kInvalidArgument): `argument` has a size that a struct of these versions, `known` bytes here, cannot
/// have.
[[noreturn]] void refuse_size(const StructVersions& versions, std::size_t known, std::uint32_t size,
                              const std::string& argument);

/// Throws Error(kInvalidArgument): an array has elements of one version.
[[noreturn]] void refuse_mixture(std::uint32_t first, std::uint32_t other, const std::string& argument);

/// `given`, if its size is one of a version that this library knows; `argument` is what a message calls it. All of an
/// older version's fields may be used.
template <class Struct, class Name>
Struct& require_sized(Struct& given, const Name& argument) {
  using Plain = std::remove_const_t<Struct>;
  static_assert(std::is_standard_layout_v<Plain> && std::is_trivially_copyable_v<Plain>);
  static_assert(offsetof(Plain, size) == 0 && std::is_same_v<decltype(Plain::size), std::uint32_t>);
  static_assert(kVersionsOf<Plain>.first > 0 && kVersionsOf<Plain>.first <= sizeof(Plain));
  if (given.size < kVersionsOf<Plain>.first || given.size > sizeof(Plain) || given.size % alignof(Plain) != 0)
    refuse_size(kVersionsOf<Plain>, sizeof(Plain), given.size, argument);
  return given;
}

/// A copy of it, with 0 in what an older version does not have.
template <class Struct, class Name>
Struct read_struct(const Struct& given, const Name& argument) {
  if (require_sized(given, argument).size == sizeof(Struct)) return given;
  Struct copy{};
  std::memcpy(&copy, &given, given.size);
  copy.size = sizeof(Struct);
  return copy;
}

/// Copies of the elements of an array. They lie as far apart as they are large in the program's own version.
template <class Struct>
std::vector<Struct> read_structs(const Struct* array, std::size_t count, const char* argument) {
  std::vector<Struct> read;
  const auto* at = reinterpret_cast<const unsigned char*>(array);
  for (std::size_t i = 0; i < count; ++i, at += array->size) {
    const Struct& element = *reinterpret_cast<const Struct*>(at);
    const std::string name = argument + ("[" + std::to_string(i) + "]");
    read.push_back(read_struct(element, name));
    if (element.size != array->size) refuse_mixture(array->size, element.size, name);
  }
  return read;
}

}  // namespace flashtune
