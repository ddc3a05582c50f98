// What a kernel is launched with: pointers, strides and sizes, by value. Read by g++, nvcc and NVRTC alike.
#pragma once

#include "flashtune/shared/problem.h"

namespace flashtune {

/// Division by a number that the host knows: multiply, add, shift (Granlund and Montgomery 1994), for dividends below
/// 2^31. A block divides half a dozen times before its first load, which is time that nothing hides.
struct Divider {
  unsigned int divisor = 1;
  unsigned int magic = 1;
  unsigned int shift = 0;
};

constexpr Divider divider_of(int divisor) {
  Divider d;
  d.divisor = static_cast<unsigned int>(divisor);
  while ((1ull << d.shift) < d.divisor) ++d.shift;
  d.magic = static_cast<unsigned int>((1ull << 32) * ((1ull << d.shift) - d.divisor) / d.divisor + 1);
  return d;
}

constexpr int divide(int dividend, const Divider& by) {
  const unsigned int n = static_cast<unsigned int>(dividend);
  const unsigned int high = static_cast<unsigned int>(static_cast<unsigned long long>(n) * by.magic >> 32);
  return static_cast<int>((high + n) >> by.shift);
}

/// A tensor as the copy engine knows it (CUtensorMap), written by the device that runs the kernel.
struct alignas(64) TensorMap {
  unsigned long long opaque[16];
};

/// Arguments of prefill_mma and prefill_tf32. All strides are in elements; offsets are 64-bit.
struct PrefillParams {
  const void* q;
  const void* k;
  const void* v;
  void* o;
  float* lse;  // [batch, heads, seq_q], natural logarithm, or nullptr when it is not wanted
  Strides q_strides, k_strides, v_strides, o_strides;
  int batch;
  int heads;
  int kv_heads;
  int seq_q;
  int seq_kv;
  int window;
  int section_heads;  // heads (of all batches) in one section of BlockOrder::kSections; all of them for kLongestFirst
  float scale_log2;   // the softmax scale times log2(e): the exponentials are exp2
};

/// Arguments of prefill_scalar and prefill_fragment. The scale comes in two parts: scale_log2, cut, and scale_rest,
/// what was cut off. One rounded fp32 would put all weights of a row off to the same side.
struct PrefillScalarParams : PrefillParams {
  float scale_rest;  // of the scale's magnitude, and above 0, so that -inf times it is no NaN
  float* row_state;  // [batch, heads, seq_q, 2]: largest score and sum, where tiles of keys are the outer loop
};

// --- prefill_wgmma ---------------------------------------------------------------------------------------------------

/// Arguments of prefill_wgmma. Query tiles are numbered. A block first takes the tile of its own number, and then every
/// `blocks`-th one or, where `next_tile` is given, the next one that no block has taken. A head is a packed one here: a
/// group of 2^group_log2 query heads whose rows take turns in one sequence of rows.
struct PrefillWgmmaParams {
  TensorMap q_map, k_map, v_map, o_map;  // K and V in boxes of bc rows, Q and O in boxes of 64 packed ones
  void* o;
  float* lse;               // [batch, heads, seq_q], natural logarithm, or nullptr when it is not wanted
  unsigned int* next_tile;  // tiles that were asked for, zero before and after each launch; or nullptr
  Strides o_strides;
  int seq_q;
  int seq_kv;
  int window;
  int group_log2;          // 0 to 6
  int heads_of_batch;      // packed heads of one batch entry,
  int heads;               // and of all of them
  int tiles_of_head;       // query tiles
  int tiles;               // of all heads
  int blocks;              // of the launch
  int section_heads;       // heads whose tiles come by turns, those of one position after the other
  int longest_first;       // 1: the last position comes first
  float scale_log2;        // the softmax scale times log2(e): the exponentials are exp2
  Divider by_section;      // of the tiles of a section
  Divider by_width;        // of section_heads,
  Divider by_last_width;   // and of the last section's, which may have fewer
  Divider by_batch_heads;  // of heads_of_batch
  Divider by_kv_share;     // of the packed heads that share a KV head
  const void* q;           // the tensors again, as threads read them where the copy engine's tiles will not do
  const void* k;
  const void* v;
  Strides q_strides, k_strides, v_strides;
};

// --- decode_split ----------------------------------------------------------------------------------------------------

/// Bits of DecodeParams::status. The kernel sets and never clears them.
enum DecodeFault : unsigned {
  kLengthOutOfRange = 1,  // a length is negative or more than seq_kv, or append found one that is less than the new
                          // rows and not 0: nothing was written for that sequence
  kPageOutOfRange = 2,    // a page index is not below num_pages: decode treated its keys and values as zero, append did
                          // not write them
};

/// Arguments of the decode families. All strides are in elements; offsets are 64-bit.
struct DecodeParams {
  const void* q;
  const void* k;  // contiguous: [batch, seq_kv, kv_heads, dim]; paged: the same with pages for batch, by k_strides
  const void* v;
  void* o;
  float* lse;              // [batch, heads, seq_q], natural logarithm, or nullptr when it is not wanted
  const int* lengths;      // [batch], keys that each sequence has, or nullptr when all have seq_kv
  const int* page_table;   // [batch, max_pages]
  float* partial_o;        // [batch, kv_heads, rows, splits, dim], rows = heads / kv_heads * seq_q, dim in whole fours
  float* partial_sums;     // [batch, kv_heads, rows, splits, 2]: maximum and sum
  unsigned int* counters;  // [batch, kv_heads, row tiles], zero before and after each launch
  unsigned int* status;    // DecodeFault bits
  Strides q_strides, k_strides, v_strides, o_strides;
  int batch;
  int heads;
  int kv_heads;
  int seq_q;
  int seq_kv;  // the most keys a sequence may have: the grid is made for so many
  int window;
  int splits;  // blocks per sequence in the grid; surplus ones leave at once
  int chunk;   // keys per split, or 0: the keys are shared out evenly
  int num_pages;
  int max_pages;
  int page_log2;     // of the page size, 4 to 8
  float scale_log2;  // the softmax scale times log2(e): the exponentials are exp2. It is cut, and
  float scale_rest;  // what was cut off is here, as PrefillScalarParams has it
  int box_rows;      // keys of one box, which lie in one page
  Divider by_group;  // of heads / kv_heads
  Divider by_row_tiles, by_kv_heads, by_splits;
  TensorMap k_map, v_map;  // where the copy engine moves K and V, in boxes of box_rows keys
};

// --- kv_append -------------------------------------------------------------------------------------------------------

/// Rotary position embedding: which elements of a head are turned together, element j of the first half with element j
/// of the second (Llama, GPT-NeoX), or neighbours (GPT-J).
enum class Rope : int { kNone = 0, kHalfSplit = 1, kInterleaved = 2 };
constexpr const char* name_of(Rope rope) {
  return rope == Rope::kNone          ? "none"
         : rope == Rope::kHalfSplit   ? "half_split"
         : rope == Rope::kInterleaved ? "interleaved"
                                      : nullptr;
}

/// Arguments of kv_append. All strides are in elements; offsets are 64-bit.
struct AppendParams {
  const void* k_new;  // [batch, seq_q, kv_heads, dim]
  const void* v_new;
  void* k;  // the cache, as DecodeParams has it
  void* v;
  const void* q;          // [batch, seq_q, heads, dim], or nullptr: there is none to rotate
  void* q_out;            // may be q
  const int* lengths;     // [batch], keys that each sequence has with the new ones, or nullptr when all have seq_kv
  const int* page_table;  // [batch, max_pages]
  const float* cos;       // [positions, rotary_dim / 2]
  const float* sin;       // likewise
  unsigned int* status;   // DecodeFault bits
  Strides k_new_strides, v_new_strides, k_strides, v_strides, q_strides;
  int heads;
  int kv_heads;
  int seq_q;
  int seq_kv;
  int num_pages;
  int max_pages;
  int page_log2;  // of the page size, 4 to 8
  Rope rope;
  int rotary_dim;    // dims from the first on that are rotated, a multiple of 16; 0 without rope
  int items;         // chunks of 16 bytes: of all new rows, all KV heads and, where q is given, all query heads
  Divider by_heads;  // KV heads, and the query heads where q is given
  Divider by_seq_q;
};

}  // namespace flashtune
