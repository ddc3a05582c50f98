// Catches what the store throws.
#include "runtime/jit/kernel_store.h"

#include <exception>
#include <utility>

#include "cache/last_resort.h"

namespace flashtune {

template <class Body>
auto KernelStore::tolerant(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& error) {
    const std::string problem = text_of(error);
    {
      const std::lock_guard lock(mutex_);
      if (!problem_.empty()) return {};
      problem_ = problem;
    }
    if (warn_) warn_(problem);
    return {};
  }
}

KernelStore::KernelStore(Options options) : warn_(std::move(options.warn)) {
  if (!options.folder) return;
  tolerant([&] {
    store_.emplace(*options.folder, options.limit);
    return true;
  });
}

std::optional<StoredCubin> KernelStore::get(const std::string& key) {
  return tolerant([&] { return store_ ? store_->get(key) : std::nullopt; });
}

void KernelStore::put(const std::string& key, const StoredCubin& entry) {
  tolerant([&] {
    if (store_) store_->put(key, entry);
    return true;
  });
}

std::string KernelStore::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

}  // namespace flashtune
