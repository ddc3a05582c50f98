// The inside of the C API's handle, for tests that bring a device of their own.
#pragma once

#include <memory>

#include "flashtune/flashtune.h"
#include "runtime/api/engine.h"

/// Opaque to callers of the C API.
struct ft_engine {
  flashtune::EngineImpl impl;
};

namespace flashtune {

/// What ft_engine_create() does once the device is open. `options` is resolved already.
ft_engine* make_engine_handle(std::unique_ptr<Device> device, EngineOptions options);

/// Options as the C API gives them, with what they leave out taken from `environment` (getenv, or a test's own).
EngineOptions resolve_options(const ft_options& options, const std::function<const char*(const char*)>& environment);

}  // namespace flashtune
