// Files that flashtune makes beside one that a person named: each takes a name that nothing has.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "cache/written_file.h"

namespace flashtune {

/// A name beside `file` that nothing has yet: "<file><suffix>", or with a number behind it. A link that leads nowhere
/// has its name, too, and a journal of SQLite takes the name of the database that it would be read with.
std::filesystem::path free_name_beside(const std::filesystem::path& file, const std::string& suffix);

/// Makes a file under such a name, which is returned. `fill` gets it under a name of our own, readable by this user
/// alone; when it is whole it takes the rights of `file`, so that it tells nobody more, and then its name: what
/// somebody else makes there in the meantime stays, and no link is followed. Throws WriteError, "cannot write <what>
/// to PATH: ...", and leaves nothing.
std::filesystem::path keep_beside(const std::filesystem::path& file, const std::string& suffix, const std::string& what,
                                  const std::function<void(TemporaryFile&)>& fill);

}  // namespace flashtune
