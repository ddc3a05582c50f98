/* One causal attention on GPU 0 with libflashtune alone: prepare, launch, read back, and check a row by hand.
 *
 * Exit codes: 0 the row is right; 1 something failed, or it is wrong; 3 there is no GPU that flashtune can use (stderr
 * says why).
 */
#include <flashtune/flashtune.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kBatch = 1, kHeads = 8, kKvHeads = 2, kSeq = 512, kDim = 64, kExitNoGpu = 3 };

/* bf16 is the upper half of a float. These values have few bits, so the conversion is exact. */
static uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return (uint16_t)(bits >> 16);
}

static float from_bf16(uint16_t value) {
  const uint32_t bits = (uint32_t)value << 16;
  float result;
  memcpy(&result, &bits, sizeof(result));
  return result;
}

/* Quarters from -1 to 1, in an order that looks random. */
static void fill(uint16_t* values, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    values[i] = to_bf16((float)((seed >> 24) % 9) / 4.0f - 1.0f);
  }
}

/* The last query row of one head in double precision; returns the largest error of `o`. */
static double error_of_last_row(const uint16_t* q, const uint16_t* k, const uint16_t* v, const uint16_t* o, int head) {
  const int kv_head = head / (kHeads / kKvHeads);
  const uint16_t* query = q + ((size_t)(kSeq - 1) * kHeads + head) * kDim;
  double weights[kSeq], sum = 0, largest = -INFINITY, error = 0;
  for (int j = 0; j < kSeq; ++j) {
    const uint16_t* key = k + ((size_t)j * kKvHeads + kv_head) * kDim;
    weights[j] = 0;
    for (int d = 0; d < kDim; ++d) weights[j] += (double)from_bf16(query[d]) * from_bf16(key[d]);
    weights[j] /= sqrt(kDim);
    largest = fmax(largest, weights[j]);
  }
  for (int j = 0; j < kSeq; ++j) sum += weights[j] = exp(weights[j] - largest);
  for (int d = 0; d < kDim; ++d) {
    double expected = 0;
    for (int j = 0; j < kSeq; ++j)
      expected += weights[j] / sum * from_bf16(v[((size_t)j * kKvHeads + kv_head) * kDim + d]);
    error = fmax(error, fabs(expected - from_bf16(o[((size_t)(kSeq - 1) * kHeads + head) * kDim + d])));
  }
  return error;
}

/* Ends the program when a call failed. */
static void require(ft_status status, const char* what) {
  if (status == FT_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, ft_status_text(status), ft_last_error());
  exit(1);
}

static void* on_device(ft_engine* engine, const uint16_t* values, size_t count) {
  void* ptr = NULL;
  require(ft_allocate(engine, count * sizeof(*values), &ptr), "allocating");
  require(ft_copy_in(engine, ptr, values, count * sizeof(*values)), "copying to the GPU");
  return ptr;
}

int main(void) {
  printf("flashtune %s\n", ft_version());
  ft_engine* engine = NULL;
  const ft_status opened = ft_engine_create(NULL, &engine);
  if (opened == FT_NOT_FOUND) {
    fprintf(stderr, "no usable GPU: %s\n", ft_last_error());
    return kExitNoGpu;
  }
  require(opened, "opening GPU 0");

  ft_problem problem;
  ft_problem_init(&problem, FT_BF16, kBatch, kHeads, kKvHeads, kSeq, kSeq, kDim);
  problem.causal = 1;
  require(ft_prepare(engine, &problem, 1), "preparing");

  ft_decision decision;
  require(ft_decide(engine, &problem, &decision), "deciding");
  printf("%s (%s)\n", decision.config, ft_grade_text(decision.grade));

  const size_t q_count = (size_t)kBatch * kSeq * kHeads * kDim, k_count = (size_t)kBatch * kSeq * kKvHeads * kDim;
  uint16_t *q = malloc(q_count * 2), *k = malloc(k_count * 2), *v = malloc(k_count * 2), *o = calloc(q_count, 2);
  if (q == NULL || k == NULL || v == NULL || o == NULL) return 1;
  fill(q, q_count, 1);
  fill(k, k_count, 2);
  fill(v, k_count, 3);

  ft_tensors tensors = {0}; /* no log-sum-exp, scale 1 / sqrt(head_dim) */
  void *gpu_q = on_device(engine, q, q_count), *gpu_k = on_device(engine, k, k_count);
  void *gpu_v = on_device(engine, v, k_count), *gpu_o = on_device(engine, o, q_count);
  tensors.q = gpu_q, tensors.k = gpu_k, tensors.v = gpu_v, tensors.o = gpu_o;

  size_t workspace_bytes = 0;
  void* workspace = NULL;
  require(ft_workspace_bytes(engine, &problem, &workspace_bytes), "asking for the workspace's size");
  if (workspace_bytes > 0) require(ft_allocate(engine, workspace_bytes, &workspace), "allocating the workspace");

  require(ft_forward(engine, &problem, &tensors, workspace, NULL), "launching");
  require(ft_synchronize(engine), "waiting");
  require(ft_copy_out(engine, o, gpu_o, q_count * 2), "copying from the GPU");

  double error = 0;
  for (int head = 0; head < kHeads; ++head) error = fmax(error, error_of_last_row(q, k, v, o, head));
  const int right = error < 0.01; /* a bf16 result near 1 is off by at most 0.004 */
  printf("largest error of the last row: %.5f, %s\n", error, right ? "right" : "WRONG");

  void* const buffers[] = {gpu_q, gpu_k, gpu_v, gpu_o, workspace};
  for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); ++i) ft_free(engine, buffers[i]);
  ft_engine_destroy(engine);
  free(q), free(k), free(v), free(o);
  return right ? 0 : 1;
}
