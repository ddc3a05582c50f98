// Changes of each field of a Problem, whichever there are: for tests that walk along the list of fields.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "flashtune/shared/fields.h"

namespace flashtune::testing {

/// Values that a field may have instead of `value`: every other enumerator, and of numbers some of each kind.
template <class T>
std::vector<T> other_values(T value) {
  std::vector<T> values;
  if constexpr (std::is_same_v<T, bool>) {
    values = {!value};
  } else if constexpr (std::is_enum_v<T>) {
    for (int i = 0; name_of(static_cast<T>(i)) != nullptr; ++i)
      if (static_cast<T>(i) != value) values.push_back(static_cast<T>(i));
  } else {
    for (const T other : {value + 1, 2 * value, 1, 2, 16, 100, 1000})
      if (other != value) values.push_back(other);
  }
  return values;
}

/// `p` in bshd with another value of one field, and what followed from the old value following from the new one.
template <class T>
Problem with_value(const Problem& p, const Field<T>& field, T value) {
  Problem changed = p;
  changed.*field.member = value;
  visit_problem(p, [&](const auto& other, const auto& was) {
    if (other.usual != nullptr && other.name != std::string_view(field.name) && was == usual_of(other, p))
      changed.*other.member = usual_of(other, changed);
  });
  return with_layout(changed, Layout::kBshd);
}

struct FieldChange {
  std::string field;
  std::function<void(Problem&)> change;
};

/// One change for each field of `base`, of that field alone.
inline std::vector<FieldChange> field_changes(const Problem& base) {
  std::vector<FieldChange> changes;
  visit_problem(base, [&](const auto& field, const auto& value) {
    const std::remove_cvref_t<decltype(value)> other = other_values(value).front();
    changes.push_back({field.name, [member = field.member, other](Problem& p) { p.*member = other; }});
  });
  return changes;
}

}  // namespace flashtune::testing
