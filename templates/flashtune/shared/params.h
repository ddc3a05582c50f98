// What a kernel is launched with: pointers, strides and sizes, by value. Read by g++, nvcc and NVRTC alike.
#pragma once

#include "flashtune/shared/problem.h"

namespace flashtune {

/// Arguments of the prefill families. All strides are in elements; offsets are 64-bit.
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

// --- decode_split ----------------------------------------------------------------------------------------------------

/// Bits of DecodeParams::status. The kernel sets and never clears them.
enum DecodeFault : unsigned {
  kLengthOutOfRange = 1,  // a length is negative or more than seq_kv: nothing was written for that sequence
  kPageOutOfRange = 2,    // a page index is not below num_pages: its keys and values were taken to be zero
};

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

/// Arguments of the decode families. All strides are in elements; offsets are 64-bit.
struct DecodeParams {
  const void* q;
  const void* k;  // contiguous: [batch, seq_kv, kv_heads, dim]; paged: the same with pages for batch, by k_strides
  const void* v;
  void* o;
  float* lse;              // [batch, heads, seq_q], natural logarithm, or nullptr when it is not wanted
  const int* lengths;      // [batch], keys that each sequence has, or nullptr when all have seq_kv
  const int* page_table;   // [batch, max_pages]
  float* partial_o;        // [batch, kv_heads, rows, splits, dim], rows = heads / kv_heads * seq_q
  float* partial_sums;     // [batch, kv_heads, rows, splits, 2]: maximum (base 2) and sum
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
  float scale_log2;  // the softmax scale times log2(e): the exponentials are exp2
  Divider by_group;  // of heads / kv_heads
  Divider by_row_tiles, by_kv_heads, by_splits;
};

}  // namespace flashtune
