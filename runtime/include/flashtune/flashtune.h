/* flashtune's C API: attention kernels that were measured on your GPU, chosen in nanoseconds.
 *
 * Conventions
 * - Problem: what is asked, that is operation, dtype, sizes, mask and the strides of its four tensors. Fill it with
 *   ft_problem_init(), then change what differs.
 * - Tensors: Q [batch, seq_q, heads, head_dim], K and V [batch, seq_kv, kv_heads, head_dim], O like Q; device pointers,
 *   each aligned to 16 bytes, with the innermost dimension contiguous. The optional log-sum-exp is contiguous fp32
 *   [batch, heads, seq_q], natural logarithm. O and the log-sum-exp share no memory with Q, K and V.
 * - Masks are aligned bottom-right: query row i stands at position i + seq_kv - seq_q, in decode, by its sequence's
 *   length, at i + length - seq_q. A fully masked row gives O = 0 and a log-sum-exp of -inf.
 * - NaN and infinities: keys past a sequence's length, keys that no row sees and pages that are not the sequence's own
 *   never matter, whatever lies there. A NaN in Q makes its row NaN, in all of O and in the log-sum-exp. A NaN in K
 * does so to the rows that see its key, and to no other. A score of +inf makes its row NaN, too. A score of -inf has
 * the weight 0, and a row with no other score is like a fully masked one. A NaN or infinity in V enters its dim of O in
 *   the rows that see its key: an infinity as itself or, where its weight is rounded to 0, as NaN. A row that does not
 *   see the key, even a fully masked one, may be NaN in that dim where its kernel's tile holds the key for a neighbour,
 *   since 0 times it is NaN, as in PyTorch's math backend. FT_TF32X3 splits each number, so infinities in Q, K and V
 *   become NaN; there and with FT_TF32 numbers of 3.402e38 and more count as infinite.
 * - Large scores: every finite score is right. Scores and the sums that they are made of, before and after the scale
 *   times log2(e), must stay within fp32; what is past it has no right answer. Some kernels do a row again, slowly,
 *   where its largest score, times the scale and log2(e), is 2^15 or more, of fp16 and fp32 2^12.
 * - Decode (FT_DECODE): seq_q new rows of each sequence, 1 to 16, against a cache. seq_kv is the most keys that a
 *   sequence may have; how many it has, the new ones among them, is read on the device, so that a step never waits for
 *   the host. A length or page that cannot be is skipped there and noted in the workspace: see ft_options.debug_checks.
 * - Workspace: device memory for ft_forward(), aligned to 16 bytes. Fill it with zeros once, after allocating it; then
 *   it serves any number of calls on one stream, of every problem that it is large enough for.
 * - Units: lengths are in tokens, strides in elements, sizes in bytes, times in microseconds.
 * - Devices: an engine works in its device's primary context, the one that the CUDA runtime and PyTorch use.
 * - Streams: void* stands for CUstream and cudaStream_t alike; NULL is the default stream. Work is ordered on the
 *   stream; ft_forward() and ft_append() wait for none of it (but see debug_checks), ft_synchronize() for the whole
 *   device. ft_allocate() and the copies run on the default stream and end before they return. If your stream does not
 *   synchronise with the default stream, synchronise it yourself before calling these.
 * - Ownership: the caller owns everything it passes in; nothing is kept after a call returns.
 * - Errors: functions return FT_OK or what kind of thing went wrong; ft_last_error() is the sentence for people.
 *   A call that is refused changes nothing; a launch that debug_checks finds wrong has run.
 * - Threads: every function may be called from any thread at any time, also on one engine; only ft_engine_destroy()
 *   must be alone on its engine. Errors are kept per thread.
 * - Captures: nothing compiles, loads or tunes on a stream that is being captured into a CUDA graph. ft_prepare()
 *   first; then ft_forward() may be captured. Without it the best kernel that is loaded runs, if the workspace is large
 *   enough for it and no chunk is pinned, or the call fails. A captured graph keeps the kernels and the addresses that
 *   it was captured with: it must not be replayed after ft_engine_destroy(), nor when they are freed. While one thread
 *   captures, in whatever mode, others may prepare and allocate.
 * - Environment: read by ft_engine_create() alone, and only for what its options leave out; but NVRTC_APPEND_FLAGS, by
 *   NVRTC itself, whenever a kernel is compiled.
 * - Sizes of structs: each struct but ft_strides begins with its own, by which the library knows which fields a program
 *   has. ft_problem_init() and the FT_..._INIT macros set it; every function refuses a size that it does not know.
 * - Binary: structs grow at their end, and keep what they have. A library serves programs that were compiled with an
 *   older header of the same soname; of fields that those lack it takes 0 or NULL, which means what it did before. It
 *   refuses a struct that is larger than its own, and says both sizes.
 */
#ifndef FLASHTUNE_FLASHTUNE_H
#define FLASHTUNE_FLASHTUNE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FT_API __attribute__((visibility("default")))
#else
#define FT_API
#endif

/* NOLINTBEGIN(readability-identifier-naming): C has no namespaces. */
#ifdef __cplusplus
extern "C" {
#endif

typedef enum ft_status {
  FT_OK = 0,
  FT_INVALID_ARGUMENT = 1, /* what was asked is not supported, or a pointer is null or misaligned */
  FT_NOT_FOUND = 2,        /* no driver, no such device or one that is too old, no such file */
  FT_IO = 3,               /* the disk, permissions, a corrupt or foreign file */
  FT_COMPILE = 4,          /* NVRTC is missing or refused a kernel */
  FT_DEVICE = 5,           /* a CUDA call failed; the engine may still be used */
  FT_DEVICE_LOST = 6,      /* a CUDA call failed and the context is gone; only ft_engine_destroy() is left */
  FT_OUT_OF_MEMORY = 7,    /* of the device */
  FT_INTERNAL = 8
} ft_status;

typedef enum ft_op {
  FT_PREFILL = 0,
  FT_DECODE = 1,
  FT_APPEND = 2 /* writes a decode's new rows into its cache; for ft_prepare() and ft_append() alone */
} ft_op;
typedef enum ft_dtype { FT_FP16 = 0, FT_BF16 = 1, FT_FP32 = 2 } ft_dtype;

/* How fp32 is multiplied. Other dtypes have FT_IEEE. Decode is bound by memory and multiplies as FT_IEEE does,
 * whichever is asked for. */
typedef enum ft_precision {
  FT_IEEE = 0,   /* as fp32, without tensor cores */
  FT_TF32X3 = 1, /* each number as the sum of two tf32 ones: about 21 bits, on tensor cores */
  FT_TF32 = 2    /* each number rounded to tf32: 10 bits of mantissa, on tensor cores */
} ft_precision;

/* [batch, seq, heads, dim]; [batch, heads, seq, dim]; or Q, K and V in one [batch, seq, heads + 2 * kv_heads, dim] with
 * O as the first. */
typedef enum ft_layout { FT_BSHD = 0, FT_BHSD = 1, FT_PACKED = 2 } ft_layout;

/* How good the answer is by which a kernel was chosen, best first. */
typedef enum ft_grade {
  FT_MEASURED = 0,     /* measured for problems of this size on this device */
  FT_NEAREST = 1,      /* measured on this device for the nearest problem */
  FT_STALE = 2,        /* measured on this device under another driver */
  FT_OTHER_DEVICE = 3, /* measured on another device of this architecture */
  FT_MODELLED = 4,     /* ranked by a cost model */
  FT_DEFAULT = 5       /* the built-in default */
} ft_grade;

/* Distances in elements: multiples of 8 (of fp32: any, for ft_append of 4), not negative, 0 where an input is
 * broadcast. The innermost is always 1. */
typedef struct ft_strides {
  int64_t batch, head, row;
} ft_strides;

/* ft_problem_init() begins it. */
typedef struct ft_problem {
  uint32_t size; /* of this struct; so in all that follow */
  int32_t op;    /* an ft_op */
  int32_t dtype; /* an ft_dtype */
  int32_t batch;
  int32_t heads;    /* of Q and O; a multiple of kv_heads; at most 2^20 */
  int32_t kv_heads; /* of K and V */
  int32_t seq_q;    /* like seq_kv at most 2^29 */
  int32_t seq_kv;
  int32_t head_dim;   /* a multiple of 8 from 8 to 256; of fp32 any to 256, for ft_append of 4 */
  int32_t head_dim_v; /* equal to head_dim */
  int32_t causal;     /* not 0: a query sees no key after its own position */
  int32_t window;     /* w > 0: a query sees only keys less than w positions away; 0: no window */
  int32_t page_size;  /* decode: keys of a page, 16, 32, 64, 128 or 256; 0: K and V of a sequence are contiguous. With
                         pages, K is [page, page_size, kv_heads, head_dim] by its strides, of which `batch` is that of a
                         page */
  ft_strides q, k, v, o;
  int32_t precision; /* an ft_precision */
} ft_problem;

/* Begin it with FT_TENSORS_INIT. */
typedef struct ft_tensors {
  uint32_t size;
  const void* q;
  const void* k;
  const void* v;
  void* o;
  float* lse;  /* may be NULL */
  float scale; /* of the scores, of either sign and up to 2.3586e38, as fp32 must hold it times log2(e); 0 means
                  1 / sqrt(head_dim) */

  /* Decode only; 0 and NULL else. */
  const int32_t* lengths;    /* [batch] on the device: the keys of each sequence; NULL: all have seq_kv */
  const int32_t* page_table; /* [batch, max_pages] on the device; with pages only. Columns past a sequence's length, and
                                pages wholly before its window, are never used */
  int32_t num_pages;         /* pages that K and V hold */
  int32_t max_pages;         /* columns of the page table */
  int32_t capacity;          /* without pages: rows that K and V have for a sequence, as their strides have it; checked,
                                and 0: at least seq_kv */
} ft_tensors;
#define FT_TENSORS_INIT \
  { sizeof(ft_tensors), NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, 0, 0, 0 }

/* Which elements of a head a rotary embedding turns together: element j of the first half of rotary_dim with element j
 * of the second (Llama, GPT-NeoX), or neighbours (GPT-J). */
typedef enum ft_rope { FT_ROPE_NONE = 0, FT_ROPE_HALF_SPLIT = 1, FT_ROPE_INTERLEAVED = 2 } ft_rope;

/* Begin it with FT_APPEND_TENSORS_INIT. */
typedef struct ft_append_tensors {
  uint32_t size;
  const void* k_new; /* [batch, seq_q, kv_heads, head_dim] */
  const void* v_new;
  ft_strides k_new_strides, v_new_strides;
  void* k; /* the cache, by the problem's strides */
  void* v;

  /* As in ft_tensors: the same arrays serve the decode that follows. */
  const int32_t* lengths; /* the keys of each sequence with the new ones; 0: idle, nothing is written */
  const int32_t* page_table;
  int32_t num_pages;
  int32_t max_pages;
  int32_t capacity;

  int32_t rope;       /* an ft_rope; what follows is for others than FT_ROPE_NONE */
  int32_t rotary_dim; /* dims from the first on that are rotated, the others are copied: a multiple of 16 */
  const float* cos;   /* [rope_positions, rotary_dim / 2] on the device, aligned to 16 bytes */
  const float* sin;
  int32_t rope_positions; /* at least the problem's seq_kv */

  /* The new rows' queries, rotated alike: both by the problem's strides of q. They may be the same; NULL: none. */
  const void* q;
  void* q_out;
} ft_append_tensors;
#define FT_APPEND_TENSORS_INIT                                                                                         \
  {                                                                                                                    \
    sizeof(ft_append_tensors), NULL, NULL, {0, 0, 0}, {0, 0, 0}, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, 0, \
        NULL, NULL                                                                                                     \
  }

/* Begin it with FT_OPTIONS_INIT: device 0 and NULL everywhere else. */
typedef struct ft_options {
  uint32_t size;
  int32_t device; /* ordinal; 0 */

  /* The tuning database that `flashtune sweep` wrote; one that does not exist yet counts as empty, and built-in
   * defaults answer. Rows that are damaged, or of a newer flashtune, are passed over and counted in ft_explain(). NULL:
   * $FLASHTUNE_DB, else $XDG_DATA_HOME/flashtune/tuning.db, else
   * ~/.local/share/flashtune/tuning.db; none where there is no home either. "": none. */
  const char* database;
  /* A second, read-only database that came with your program; the first one's rows come before its. NULL: none. */
  const char* shipped_database;
  /* Where compiled kernels are kept. NULL: $XDG_CACHE_HOME/flashtune/cubins, else ~/.cache/flashtune/cubins. "":
   * nowhere, so each process compiles what it uses (a fraction of a second per kernel). What is kept is run, so a
   * folder that is another user's, or that others may write, is not used, and a line to `warn` says so. Where all would
   * take more than $FLASHTUNE_CUBIN_LIMIT (such as 500M or 2G; left out: 1G), those longest unused are deleted. */
  const char* cubin_folder;
  /* NVRTC's library or folder, looked at before the usual places. NULL: $CUDA_HOME and $CUDA_PATH. */
  const char* nvrtc;
  /* Kernel templates to read instead of the built-in ones, for edit and run. NULL: the built-in ones. */
  const char* template_root;

  /* Decode: not 0 fixes how many keys a block takes (rounded up to a kernel's tile), and one kernel for all batches and
   * lengths, so that a sequence's result does not depend on its batch mates, bit for bit. */
  int32_t pinned_chunk;
  /* Not 0: each decode and append outside a capture waits for its end, and fails with FT_INVALID_ARGUMENT when a
   * sequence's length or pages are wrong, naming it. */
  int32_t debug_checks;

  /* Gets one line, once per engine, when the GPU is untuned, one for each database with rows that were passed over, and
   * one when compiled kernels cannot be kept. NULL: they go to stderr; give a function that does nothing to silence
   * it. */
  void (*warn)(const char* line, void* warn_data);
  void* warn_data;
} ft_options;
#define FT_OPTIONS_INIT \
  { sizeof(ft_options), 0, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL }

/* What the tuning database answers for a problem. Begin it with FT_DECISION_INIT: ft_decide() fills in what it has. */
typedef struct ft_decision {
  uint32_t size;
  ft_grade grade;
  double expected_us; /* of the measurement it rests on, which FT_NEAREST made of another problem; the cost model's for
                         FT_MODELLED, 0 for FT_DEFAULT */
} ft_decision;
#define FT_DECISION_INIT \
  { sizeof(ft_decision), FT_DEFAULT, 0 }

typedef struct ft_engine ft_engine;

/* --- about the library and its answers */

#define FT_VERSION "0.1.0"
FT_API const char* ft_version(void);

FT_API const char* ft_status_text(ft_status status); /* "invalid argument" */
FT_API const char* ft_grade_text(ft_grade grade);    /* "measured" */

/* What went wrong in this thread's last call that failed: which value, and what to do. "" when none has. Valid until
 * the thread's next call that fails. */
FT_API const char* ft_last_error(void);

/* --- problems */

/* Prefill, no mask, no window, no pages, head_dim_v = head_dim, layout FT_BSHD; of fp32 FT_TF32X3. For decode, set op
 * (and page_size), then call ft_problem_set_layout(). size: of an ft_problem as your program has it; other languages
 * call this, C and C++ the next. */
FT_API void ft_problem_init_sized(ft_problem* problem, size_t size, ft_dtype dtype, int32_t batch, int32_t heads,
                                  int32_t kv_heads, int32_t seq_q, int32_t seq_kv, int32_t head_dim);
static inline void ft_problem_init(ft_problem* problem, ft_dtype dtype, int32_t batch, int32_t heads, int32_t kv_heads,
                                   int32_t seq_q, int32_t seq_kv, int32_t head_dim) {
  ft_problem_init_sized(problem, sizeof(ft_problem), dtype, batch, heads, kv_heads, seq_q, seq_kv, head_dim);
}

/* Sets all four strides for the sizes that the problem has now; call it again after changing them. Where a
 * cache has room for more keys than seq_kv, call it with seq_kv set to the cache's rows, and lower seq_kv afterwards:
 * the strides stay. FT_PACKED is for prefill alone, with seq_kv equal to seq_q: a cache is no part of a QKV tensor. */
FT_API ft_status ft_problem_set_layout(ft_problem* problem, int layout /* an ft_layout */);

/* Whether any kernel computes the problem: 1, or 0 and *reason (may be NULL) says what is supported. No engine is
 * needed. */
FT_API int ft_supported(const ft_problem* problem, const char** reason);

/* --- engines */

/* Opens a GPU (sm_80 or later) and reads the databases. options may be NULL. *engine is set to NULL on failure.
 * FT_NOT_FOUND: no driver, no such device, or one that is too old. */
FT_API ft_status ft_engine_create(const ft_options* options, ft_engine** engine);
/* NULL is allowed. Waits for nothing: no kernel of the engine may still be running, and no graph that captured one may
 * be replayed any more. */
FT_API void ft_engine_destroy(ft_engine* engine);

/* Bytes of device memory that ft_forward() needs beside the tensors: the workspace. Decode always needs some, and its
 * ft_append() uses the same. Prefill needs none, or 256 bytes, or more where an fp32 kernel has keys in the outer loop:
 * it depends on the kernel that answers. */
FT_API ft_status ft_workspace_bytes(ft_engine* engine, const ft_problem* problem, size_t* bytes);

/* Compiles (or finds) and loads the kernels of these problems. Afterwards ft_forward() on them, and on problems of
 * about their sizes, takes no lock and may be captured. A problem whose op is FT_APPEND prepares ft_append() for
 * the decode that differs from it in op alone. One kernel serves all sizes, strides and embeddings of a dtype and
 * head_dim; caches in pages have another. */
FT_API ft_status ft_prepare(ft_engine* engine, const ft_problem* problems, size_t count);

/* O = softmax(scale * Q K^T + mask) V on `stream`. Not prepared: compiles and loads first, which takes a fraction of a
 * second. workspace may be NULL where ft_workspace_bytes() is 0. */
FT_API ft_status ft_forward(ft_engine* engine, const ft_problem* problem, const ft_tensors* tensors, void* workspace,
                            void* stream);

/* Writes the new rows of K and V of each sequence into its cache, on `stream`, before the ft_forward() of a decode that
 * reads them: new row i of a sequence becomes its key number length - seq_q + i. K is rotated on the way where that is
 * asked for, and so is Q: computed in fp32, rounded once. What is not rotated is copied bit by bit.
 *
 * problem: the decode's. workspace: the decode's, or any of 256 bytes that were zero once. Nothing is written for
 * a sequence whose length is negative, more than seq_kv, or less than seq_q and not 0, nor for rows whose page does not
 * exist; both are noted in the workspace, as decode does. Without ft_prepare() the first call compiles, and a capture
 * fails. */
FT_API ft_status ft_append(ft_engine* engine, const ft_problem* problem, const ft_append_tensors* tensors,
                           void* workspace, void* stream);

/* How good the answer is that ft_forward() takes. Within 0.2 us for a problem that was asked for lately. */
FT_API ft_status ft_decide(ft_engine* engine, const ft_problem* problem, ft_decision* decision);

/* The kernel and the config that answer: "prefill_mma br=128,bc=64,...". Like snprintf: writes at most `size` bytes
 * with the final 0 and sets *length (may be NULL) to what the whole text takes without it. buffer may be NULL when size
 * is 0. 512 bytes hold every one. */
FT_API ft_status ft_config_text(ft_engine* engine, const ft_problem* problem, char* buffer, size_t size,
                                size_t* length);

/* Which grade answers and why the others do not, a line each. Like snprintf: writes at most `size` bytes with the final
 * 0 and sets *length (may be NULL) to what the whole text takes without it. buffer may be NULL when size is 0. */
FT_API ft_status ft_explain(ft_engine* engine, const ft_problem* problem, char* buffer, size_t size, size_t* length);

/* Writes the problems that ft_decide(), ft_config_text(), ft_explain(), ft_workspace_bytes(), ft_prepare() and
 * ft_forward() of this engine met so far and that are not measured on its device (with strides of their own: not as
 * FT_BSHD either), a line each, for `flashtune sweep --missed FILE`: one for each bucket of about equal sizes, the
 * first 1024. A file is replaced as a whole, or left as it was; a link is followed; a FIFO or device is written into.
 * *count (may be NULL): how many were missed; 0 makes a file without any. */
FT_API ft_status ft_write_missed(ft_engine* engine, const char* path, size_t* count);

/* --- device memory, for programs that have no CUDA runtime of their own; not to be called during a capture */

FT_API ft_status ft_allocate(ft_engine* engine, size_t bytes, void** ptr); /* filled with zeros */
FT_API void ft_free(ft_engine* engine, void* ptr);                         /* NULL is allowed */
FT_API ft_status ft_copy_in(ft_engine* engine, void* device_to, const void* host_from, size_t bytes);
FT_API ft_status ft_copy_out(ft_engine* engine, void* host_to, const void* device_from, size_t bytes);
/* Waits for everything on the device, and returns the error of a kernel that failed. */
FT_API ft_status ft_synchronize(ft_engine* engine);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming) */

#endif /* FLASHTUNE_FLASHTUNE_H */
