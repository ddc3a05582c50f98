// The simulator's versions of templates/flashtune/primitives, and what they include: the table that
// cmake/EmbedTemplates.cmake generates.
#pragma once

#include "runtime/jit/embedded.h"

namespace flashtune {

extern const EmbeddedFile kEmbeddedSimPrimitives[];
extern const unsigned long kEmbeddedSimPrimitiveCount;

}  // namespace flashtune
