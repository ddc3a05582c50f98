// The table that cmake/EmbedTemplates.cmake generates.
#pragma once

namespace flashtune {

struct EmbeddedFile {
  const char* path;  // "flashtune/kernels/prefill_mma.cuh"
  const unsigned char* bytes;
  unsigned long size;
};
extern const EmbeddedFile kEmbeddedTemplates[];
extern const unsigned long kEmbeddedTemplateCount;

}  // namespace flashtune
