// For what is installed. Programs that link flashtune_checkout have that one's function in this one's place.
#include "runtime/jit/checkout.h"

namespace flashtune {

const char* checkout_libraries() { return nullptr; }

}  // namespace flashtune
