/* What the examples share: bf16 on the host, values to compute with, and attention by the book to compare with. */
#ifndef FLASHTUNE_EXAMPLE_H
#define FLASHTUNE_EXAMPLE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { kExitNoGpu = 3 };

/* What a bf16 result near 1 is off by at most is 0.004. */
#define MOST_ERROR 0.01

/* bf16 is the upper half of a float. These values have few bits, so the conversion is exact. */
static inline uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return (uint16_t)(bits >> 16);
}

static inline float from_bf16(uint16_t value) {
  const uint32_t bits = (uint32_t)value << 16;
  float result;
  memcpy(&result, &bits, sizeof(result));
  return result;
}

/* Quarters from -1 to 1, in an order that looks random. */
static inline void fill(uint16_t* values, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    values[i] = to_bf16((float)((seed >> 24) % 9) / 4.0f - 1.0f);
  }
}

/* The largest error of `o`, what one query of `dim` elements sees of `count` keys, against double precision. From one
 * key, and one value, to the next it is `stride` elements. */
static inline double error_of_row(const uint16_t* q, const uint16_t* k, const uint16_t* v, size_t stride, int count,
                                  int dim, const uint16_t* o) {
  double* weights = (double*)malloc(sizeof(double) * (size_t)(count + 1));
  double sum = 0, largest = -INFINITY, error = 0;
  if (weights == NULL) return INFINITY;
  for (int j = 0; j < count; ++j) {
    weights[j] = 0;
    for (int d = 0; d < dim; ++d) weights[j] += (double)from_bf16(q[d]) * from_bf16(k[(size_t)j * stride + (size_t)d]);
    weights[j] /= sqrt(dim);
    largest = fmax(largest, weights[j]);
  }
  for (int j = 0; j < count; ++j) sum += weights[j] = exp(weights[j] - largest);
  for (int d = 0; d < dim; ++d) {
    double expected = 0, off;
    for (int j = 0; j < count; ++j) expected += weights[j] / sum * from_bf16(v[(size_t)j * stride + (size_t)d]);
    off = fabs(expected - from_bf16(o[d]));
    if (!(off <= error)) error = isnan(off) ? INFINITY : off;
  }
  free(weights);
  return error;
}

#endif /* FLASHTUNE_EXAMPLE_H */
