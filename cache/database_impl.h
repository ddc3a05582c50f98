// What a Database is made of; shared by the files that implement it, and by nobody else.
#pragma once

#include <filesystem>
#include <mutex>

#include "cache/database.h"
#include "cache/sqlite.h"

namespace flashtune {

struct Database::Impl {
  Impl(Sqlite opened, std::filesystem::path file, bool reads_only)
      : db(std::move(opened)), path(std::move(file)), read_only(reads_only) {}

  Sqlite db;
  std::filesystem::path path;
  bool read_only;
  std::recursive_mutex mutex;  // a transaction holds it while its body calls in again
  int depth = 0;               // of nested transactions

  /// Takes back what the transaction at `depth` did.
  void undo();
};

}  // namespace flashtune
