// For programs of a build tree: the folder of the checkout that was configured.
#include "runtime/jit/checkout.h"

namespace flashtune {

const char* checkout_libraries() { return FLASHTUNE_CHECKOUT "/.cuda/lib"; }

}  // namespace flashtune
