// What a device has unless it says otherwise.
#include "runtime/device/device.h"

#include <fmt/format.h>

#include "cache/error.h"

namespace flashtune {

TensorMap Device::tensor_map(const TensorBox&) const {
  throw Error(ErrorKind::kDevice, fmt::format("{} (sm_{}) has no copy engine", info().id, info().key.arch));
}

}  // namespace flashtune
