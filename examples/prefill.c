/* One causal attention on GPU 0 with libflashtune alone: prepare, launch, read back, and check a row by hand.
 *
 * Exit codes: 0 the row is right; 1 something failed, or it is wrong; 3 there is no GPU that flashtune can use (stderr
 * says why).
 */
#include <flashtune/flashtune.h>
#include <stdio.h>

#include "example.h"

enum { kBatch = 1, kHeads = 8, kKvHeads = 2, kSeq = 512, kDim = 64 };

/* The largest error of the last query row, which sees all keys, of all heads. */
static double error_of_last_row(const uint16_t* q, const uint16_t* k, const uint16_t* v, const uint16_t* o) {
  double error = 0;
  for (int head = 0; head < kHeads; ++head) {
    const size_t row = ((size_t)(kSeq - 1) * kHeads + (size_t)head) * kDim;
    const size_t kv_head = (size_t)(head / (kHeads / kKvHeads)) * kDim;
    error = fmax(error, error_of_row(q + row, k + kv_head, v + kv_head, kKvHeads * kDim, kSeq, kDim, o + row));
  }
  return error;
}

/* Ends the program when a call failed. */
static void require(ft_status status, const char* what) {
  if (status == FT_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, ft_status_text(status), ft_last_error());
  exit(1);
}

static uint16_t* on_host(size_t count) {
  uint16_t* values = calloc(count, sizeof(*values));
  if (values == NULL) fprintf(stderr, "out of memory\n"), exit(1);
  return values;
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

  ft_decision decision = FT_DECISION_INIT;
  require(ft_decide(engine, &problem, &decision), "deciding");
  char config[512];
  require(ft_config_text(engine, &problem, config, sizeof(config), NULL), "asking for the config");
  printf("%s (%s)\n", config, ft_grade_text(decision.grade));

  const size_t q_count = (size_t)kBatch * kSeq * kHeads * kDim, k_count = (size_t)kBatch * kSeq * kKvHeads * kDim;
  uint16_t *q = on_host(q_count), *k = on_host(k_count), *v = on_host(k_count), *o = on_host(q_count);
  fill(q, q_count, 1);
  fill(k, k_count, 2);
  fill(v, k_count, 3);

  ft_tensors tensors = FT_TENSORS_INIT; /* no log-sum-exp, scale 1 / sqrt(head_dim) */
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

  const double error = error_of_last_row(q, k, v, o);
  const int right = error < MOST_ERROR;
  printf("largest error of the last row: %.5f, %s\n", error, right ? "right" : "WRONG");

  void* const buffers[] = {gpu_q, gpu_k, gpu_v, gpu_o, workspace};
  for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); ++i) ft_free(engine, buffers[i]);
  ft_engine_destroy(engine);
  free(q), free(k), free(v), free(o);
  return right ? 0 : 1;
}
