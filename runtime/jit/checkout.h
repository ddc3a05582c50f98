// Where a checkout keeps the NVRTC that scripts/setup fetched: known to programs of its build tree, and to no other.
#pragma once

namespace flashtune {

/// The folder, or nullptr. Programs of the build tree link flashtune_checkout, which knows the checkout that was
/// configured. What is installed does not: no file that lies about may be taken for NVRTC there.
const char* checkout_libraries();

}  // namespace flashtune
