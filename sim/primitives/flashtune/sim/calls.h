// What a kernel on the simulated device calls: a table that it is given when it is loaded, so that it links with
// nothing. Included by the kernel and by the simulator; without any standard header a kernel compiles in a tenth of a
// second.
#pragma once

namespace flashtune::sim {

/// Where in the templates an instruction stands. As a defaulted argument of a primitive it names the primitive's
/// caller.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

enum class Format : int { kFp16 = 0, kBf16 = 1 };

/// An asynchronous product of a warpgroup, 64 x columns (+)= 64 x 16 * 16 x columns.
struct Product {
  unsigned long long a, b;    // descriptors of operands in shared memory
  const unsigned* registers;  // A's, in the place of `a`, or nullptr: read when the product is made
  int columns;
  bool adds;        // to what the accumulators hold
  bool b_by_depth;  // MN-major: a line of B is of one k
  Format format;
};

/// What of A or B, and how it lies in shared memory.
enum class WmmaOperand : int { kA = 0, kBByRows = 1, kBByColumns = 2 };

/// Where a box lies in a tensor, innermost axis first.
struct BoxPlace {
  int axes;
  int at[5];
};

/// One function for each instruction. Shared memory is addressed by 32 bits, as in PTX.
struct Calls {
  int (*thread_index)();
  int (*block_index)();
  unsigned (*dynamic_smem)();
  unsigned (*shared_region)(unsigned first, int bytes, Site);

  void (*load_shared_4)(void* value, unsigned from, Site);
  void (*load_shared_8)(void* value, unsigned from, Site);
  void (*load_shared_16)(void* value, unsigned from, Site);
  void (*store_shared_4)(unsigned to, const void* value, Site);
  void (*store_shared_8)(unsigned to, const void* value, Site);
  void (*store_shared_16)(unsigned to, const void* value, Site);
  void (*load_global_4)(void* value, const void* from, Site);
  void (*load_global_8)(void* value, const void* from, Site);
  void (*load_global_16)(void* value, const void* from, Site);
  void (*load_global_constant_16)(void* value, const void* from, Site);
  void (*load_global_relaxed)(int* value, const int* from, Site);
  void (*prefetch_line)(const void* from, Site);
  void (*store_global_4)(void* to, const void* value, Site);
  void (*store_global_8)(void* to, const void* value, Site);
  void (*store_global_16)(void* to, const void* value, Site);
  unsigned (*atomic_add)(unsigned* to, unsigned value, Site);
  void (*atomic_or)(unsigned* to, unsigned bits, Site);

  void (*copy_async_16)(unsigned to, const void* from, bool in_range, Site);
  void (*copy_async_4)(unsigned to, const void* from, bool in_range, Site);
  void (*copy_commit)();
  void (*copy_wait)(int pending);

  void (*ldmatrix_x4)(unsigned* to, unsigned row_address, Site);
  void (*ldmatrix_x4_trans)(unsigned* to, unsigned row_address, Site);
  void (*mma_m16n8k16)(float* d, const unsigned* a, unsigned b0, unsigned b1, Format, Site);
  void (*mma_m16n8k8_tf32)(float* d, const unsigned* a, unsigned b0, unsigned b1, Site);
  void (*wmma_load)(unsigned* to, unsigned from, int pitch, WmmaOperand, Site);
  void (*wmma_mma)(float* d, const unsigned* a, const unsigned* b, Site);
  void (*wmma_store)(unsigned to, const float* d, int pitch, Site);

  unsigned (*pack)(float low, float high, Format);
  unsigned (*round_to_tf32)(float);
  float (*exp2)(float);
  float (*log2)(float);

  float (*shuffle_xor)(float value, int lane_mask, Site);
  bool (*any_in_warp)(bool predicate, Site);
  void (*sync_warp)(Site);
  void (*sync_block)(Site);
  void (*named_barrier)(int barrier, int threads, bool waits, Site);

  void (*arrive_cluster)(bool releases, Site);
  void (*wait_cluster)(Site);
  unsigned (*in_block)(unsigned address, int rank, Site);
  void (*store_cluster_8)(unsigned to, const void* value, Site);
  void (*store_cluster_16)(unsigned to, const void* value, Site);
  void (*send_8)(unsigned to, const void* value, unsigned barrier, Site);
  void (*send_16)(unsigned to, const void* value, unsigned barrier, Site);
  void (*wait_for_launches)();

  void (*init_mbarrier)(unsigned barrier, int arrivals, Site);
  void (*fence_mbarrier_init)();
  void (*arrive_mbarrier)(unsigned barrier, int bytes, Site);
  void (*arrive_mbarrier_of)(unsigned barrier, int rank, Site);
  void (*wait_mbarrier)(unsigned barrier, unsigned parity, bool cluster, Site);

  /// `blocks`: a bit for each block of the cluster in which it lands, 0 for the thread's own.
  void (*tma_load)(unsigned to, const void* map, const BoxPlace&, unsigned barrier, int blocks, Site);
  void (*tma_store)(const void* map, const BoxPlace&, unsigned from, Site);
  void (*tma_store_commit)();
  void (*tma_store_wait)(int pending);
  void (*fence_async_copies)();

  /// `d`: columns / 2 accumulators of this thread, which must be there until the wait, as must the registers of A.
  void (*start_product)(float* d, const Product&, Site);
  void (*fence_products)();
  void (*commit_products)();
  void (*wait_for_products)(int pending, Site);

  void (*stmatrix_x4)(unsigned row_address, const unsigned* from, Site);
  int (*from_lane)(int value, int lane, Site);
};

/// Raised whenever Calls or Kernel change, so that a kernel stored by another version is not run.
constexpr int kKernelVersion = 7;

/// A compiled library exports flashtune_sim_kernels, an array of these that ends with one without an entry.
struct Kernel {
  int version;
  const char* entry;
  unsigned params_bytes;
  void (*bind)(const Calls*);
  void (*run)(const void* params);  // one thread of one block
};

/// Calls a kernel whose one parameter is taken by value.
template <class Params>
constexpr unsigned params_bytes_of(void (*)(Params)) {
  return sizeof(Params);
}
template <class Params>
void run_with(void (*kernel)(Params), const void* params) {
  kernel(*static_cast<const Params*>(params));
}

}  // namespace flashtune::sim
