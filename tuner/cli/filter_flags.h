// The flags that select records: query and db prune, db export.
#pragma once

#include <string>

#include "cache/database.h"

namespace CLI {
class App;
}

namespace flashtune {

struct FilterFlags {
  std::string arch, device, op, dtype, head_dim, outcome, older_than, driver_not;
};

void add_filter_flags(CLI::App& app, FilterFlags& flags);

/// Throws Error(kInvalidArgument) that names the flag and the value.
RecordFilter filter_of(const FilterFlags& flags);

/// Whether no flag was given: the filter matches every record.
bool is_empty(const FilterFlags& flags);

}  // namespace flashtune
