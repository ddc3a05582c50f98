// What is asked: one attention problem (operation, types, shapes, mask, strides). Read by g++, nvcc and NVRTC alike,
// so it uses no standard header.
#pragma once

namespace flashtune {

enum class Op : int { kPrefill = 0, kDecode = 1, kAppend = 2 };
enum class Dtype : int { kFp16 = 0, kBf16 = 1, kFp32 = 2 };

/// How fp32 elements are multiplied: as they are (kIeee), rounded to the 10 mantissa bits of tf32 (kTf32), or each as
/// the sum of two tf32 numbers, in three products of which the smallest is left out (kTf32x3: about 21 bits). Other
/// types have kIeee. Decode multiplies fp32 as it is, whichever of them is asked for.
enum class Precision : int { kIeee = 0, kTf32x3 = 1, kTf32 = 2 };

/// The token of an enumerator, as it stands in help, keys and files; nullptr past the last one.
constexpr const char* name_of(Op op) {
  return op == Op::kPrefill ? "prefill" : op == Op::kDecode ? "decode" : op == Op::kAppend ? "append" : nullptr;
}
constexpr const char* name_of(Dtype dtype) {
  return dtype == Dtype::kFp16 ? "fp16" : dtype == Dtype::kBf16 ? "bf16" : dtype == Dtype::kFp32 ? "fp32" : nullptr;
}
constexpr const char* name_of(Precision precision) {
  return precision == Precision::kIeee     ? "ieee"
         : precision == Precision::kTf32x3 ? "tf32x3"
         : precision == Precision::kTf32   ? "tf32"
                                           : nullptr;
}

constexpr int size_of(Dtype dtype) { return dtype == Dtype::kFp32 ? 4 : 2; }  // bytes per element

/// What is meant where nobody says: of fp32 what is close to it and fast.
constexpr Precision usual_precision(Dtype dtype) {
  return dtype == Dtype::kFp32 ? Precision::kTf32x3 : Precision::kIeee;
}

/// Distances in elements between neighbours of a [batch, row, head, dim] tensor. The innermost stride is always 1.
struct Strides {
  long long batch = 0;
  long long head = 0;
  long long row = 0;
  constexpr bool operator==(const Strides&) const = default;
};

/// How the tensors of a problem lie in memory. kStrided is whatever the named layouts are not.
enum class Layout : int { kBshd = 0, kBhsd = 1, kPacked = 2, kStrided = 3 };
constexpr const char* name_of(Layout layout) {
  return layout == Layout::kBshd      ? "bshd"
         : layout == Layout::kBhsd    ? "bhsd"
         : layout == Layout::kPacked  ? "packed"
         : layout == Layout::kStrided ? "strided"
                                      : nullptr;
}

/// One attention problem. Q is [batch, seq_q, heads, head_dim], K [batch, seq_kv, kv_heads, head_dim],
/// V [batch, seq_kv, kv_heads, head_dim_v], O [batch, seq_q, heads, head_dim_v], each by its strides;
/// the log-sum-exp is contiguous fp32 [batch, heads, seq_q].
///
/// Masks are aligned bottom-right: query row i stands at position p = i + seq_kv - seq_q. `causal` admits keys j <= p;
/// a window of w > 0 admits keys j > p - w, and without `causal` also j < p + w; 0 means no window.
///
/// Decode: seq_q new rows of each sequence against a cache of which seq_kv is the most keys that a sequence may have.
/// How many it has is known on the device alone: the masks are aligned to that length. With pages, K is [page,
/// page_size, kv_heads, head_dim] by its strides, whose `batch` is the distance of two pages; V likewise.
///
/// Append: writes the new rows' keys and values into the cache of a decode problem; its masks and O do not matter.
struct Problem {
  Op op = Op::kPrefill;
  Dtype dtype = Dtype::kBf16;
  int batch = 1;
  int heads = 1;
  int kv_heads = 1;
  int seq_q = 1;
  int seq_kv = 1;
  int head_dim = 64;
  int head_dim_v = 64;
  bool causal = false;
  int window = 0;
  int page_size = 0;  // keys of a page, 0 where the cache of a sequence is contiguous
  Precision precision = Precision::kIeee;
  Strides q, k, v, o;
  constexpr bool operator==(const Problem&) const = default;
};

/// Rows of K and V that lie together: of a page, or of a sequence.
constexpr int rows_together(const Problem& p) { return p.page_size > 0 ? p.page_size : p.seq_kv; }

/// Whether K and V are a cache: new rows beside lengths that only the device knows, pages.
constexpr bool has_cache(Op op) { return op == Op::kDecode || op == Op::kAppend; }

/// Whether Layout::kPacked can hold the problem: a cache is no part of a QKV tensor, and Q, K and V share its rows.
constexpr bool fits_packed(const Problem& p) { return !has_cache(p.op) && p.seq_q == p.seq_kv; }
constexpr const char* kPackedFits = "one QKV tensor is of prefill, with as many keys as queries";

/// Fills the four strides for one of the named layouts. kPacked is one [batch, seq, heads + 2 * kv_heads, dim] tensor
/// that holds Q, K and V, where fits_packed() (head_dim == head_dim_v is the caller's promise); O is then bshd. Of
/// sizes that fault_of() refuses, which nobody may have asked yet, strides wrap around.
constexpr Problem with_layout(Problem p, Layout layout) {
  using Wrapping = unsigned long long;
  const Wrapping dk = static_cast<Wrapping>(p.head_dim), dv = static_cast<Wrapping>(p.head_dim_v);
  const Wrapping h = static_cast<Wrapping>(p.heads), hk = static_cast<Wrapping>(p.kv_heads);
  const Wrapping sq = static_cast<Wrapping>(p.seq_q), sk = static_cast<Wrapping>(rows_together(p));
  const auto strides = [](Wrapping batch, Wrapping head, Wrapping row) {
    return Strides{static_cast<long long>(batch), static_cast<long long>(head), static_cast<long long>(row)};
  };
  if (layout == Layout::kBhsd) {
    p.q = strides(h * sq * dk, sq * dk, dk);
    p.k = strides(hk * sk * dk, sk * dk, dk);
    p.v = strides(hk * sk * dv, sk * dv, dv);
    p.o = strides(h * sq * dv, sq * dv, dv);
  } else {
    const Wrapping row = (h + 2 * hk) * dk;
    p.q = layout == Layout::kPacked ? strides(sq * row, dk, row) : strides(sq * h * dk, dk, h * dk);
    p.k = layout == Layout::kPacked ? strides(sk * row, dk, row) : strides(sk * hk * dk, dk, hk * dk);
    p.v = layout == Layout::kPacked ? strides(sk * row, dk, row) : strides(sk * hk * dv, dv, hk * dv);
    p.o = strides(sq * h * dv, dv, h * dv);
  }
  return p;
}

/// The named layout whose strides `p` has, else kStrided.
constexpr Layout layout_of(const Problem& p) {
  constexpr Layout kNamed[] = {Layout::kBshd, Layout::kBhsd, Layout::kPacked};
  for (Layout layout : kNamed)
    if (with_layout(p, layout) == p && (layout != Layout::kPacked || fits_packed(p))) return layout;
  return Layout::kStrided;
}

/// Why a problem is not one that any family computes; kNone when it is well formed.
enum class ProblemFault : int {
  kNone = 0,
  kBatch,
  kHeads,
  kGroup,
  kSeqQ,
  kSeqKv,
  kHeadDim,
  kHeadDimV,
  kWindow,
  kStride,
  kNewRows,
  kPageSize,
  kPagesOfPrefill,
  kPrecision,
  kHeadDimOfFp32,
  kNegativeStride,
  kFp32Append,
};

constexpr int kMostNewRows = 16;  // of a sequence in one step of decode
constexpr int kLeastPage = 16, kMostPage = 256;
constexpr int kMostHeadDim = 256;
constexpr int kMostHeads = 1 << 20, kMostKeys = 1 << 29;  // so that kernels count keys and packed rows in an int

/// What head dims and strides must be multiples of. Rows of 16-bit elements are copied 16 bytes at a time; those of
/// fp32 one element at a time, where more does not divide.
constexpr int multiple_of(Dtype dtype) { return dtype == Dtype::kFp32 ? 1 : 8; }

/// The first thing wrong with `p`, in the order in which a person would want to hear it.
constexpr ProblemFault fault_of(const Problem& p) {
  if (p.batch < 1) return ProblemFault::kBatch;
  if (p.heads < 1 || p.heads > kMostHeads || p.kv_heads < 1) return ProblemFault::kHeads;
  if (p.heads % p.kv_heads != 0) return ProblemFault::kGroup;
  if (p.seq_q < 1 || p.seq_q > kMostKeys) return ProblemFault::kSeqQ;
  if (p.seq_kv < 0 || p.seq_kv > kMostKeys) return ProblemFault::kSeqKv;
  if (has_cache(p.op) && p.seq_q > kMostNewRows) return ProblemFault::kNewRows;
  if (!has_cache(p.op) && p.page_size != 0) return ProblemFault::kPagesOfPrefill;
  if (p.page_size != 0 &&
      (p.page_size < kLeastPage || p.page_size > kMostPage || (p.page_size & (p.page_size - 1)) != 0))
    return ProblemFault::kPageSize;
  if (p.dtype != Dtype::kFp32 && p.precision != Precision::kIeee) return ProblemFault::kPrecision;
  const int multiple = multiple_of(p.dtype);
  if (p.head_dim < multiple || p.head_dim > kMostHeadDim || p.head_dim % multiple != 0)
    return p.dtype == Dtype::kFp32 ? ProblemFault::kHeadDimOfFp32 : ProblemFault::kHeadDim;
  if (p.head_dim_v != p.head_dim) return ProblemFault::kHeadDimV;
  if (p.op == Op::kAppend && p.dtype == Dtype::kFp32) {
    const long long fours[] = {p.head_dim, p.q.batch, p.q.head,  p.q.row,  p.k.batch,
                               p.k.head,   p.k.row,   p.v.batch, p.v.head, p.v.row};
    for (const long long number : fours)
      if (number % 4 != 0) return ProblemFault::kFp32Append;
  }
  if (p.window < 0) return ProblemFault::kWindow;
  const Strides strides[] = {p.q, p.k, p.v, p.o};
  for (const Strides& s : strides)
    if (s.batch < 0 || s.head < 0 || s.row < 0 || s.batch % multiple || s.head % multiple || s.row % multiple)
      return p.dtype == Dtype::kFp32 ? ProblemFault::kNegativeStride : ProblemFault::kStride;
  return ProblemFault::kNone;
}

/// Sentences for people; each says what is supported.
constexpr const char* text_of(ProblemFault fault) {
  switch (fault) {
    case ProblemFault::kNone: return "nothing is wrong";
    case ProblemFault::kBatch: return "batch must be at least 1";
    case ProblemFault::kHeads: return "heads and kv-heads must be 1 to 2^20";
    case ProblemFault::kGroup: return "heads must be a multiple of kv-heads";
    case ProblemFault::kSeqQ: return "seq-q must be 1 to 2^29";
    case ProblemFault::kSeqKv: return "seq-kv must be 0 to 2^29";
    case ProblemFault::kHeadDim: return "head-dim must be a multiple of 8 from 8 to 256";
    case ProblemFault::kHeadDimV: return "head-dim-v must equal head-dim";
    case ProblemFault::kWindow: return "window must not be negative (0 means none)";
    case ProblemFault::kStride: return "strides must be multiples of 8 elements and not negative";
    case ProblemFault::kNewRows: return "decode and append take 1 to 16 new rows of each sequence (seq-q)";
    case ProblemFault::kPageSize: return "page-size must be a power of two from 16 to 256 (0 means no pages)";
    case ProblemFault::kPrecision: return "precision is a choice of fp32; fp16 and bf16 have one alone";
    case ProblemFault::kHeadDimOfFp32: return "head-dim must be 1 to 256";
    case ProblemFault::kNegativeStride: return "strides must not be negative";
    case ProblemFault::kFp32Append:
      return "append of fp32 takes head-dim and strides that are multiples of 4: it writes 16 bytes at a time";
    case ProblemFault::kPagesOfPrefill: return "page-size is for decode: prefill reads contiguous K and V";
  }
  return "unknown fault";
}

/// How products are made, whatever was asked for: decode is bound by memory, so fp32 products cost nothing there, and
/// every precision gets them, more than tf32 and tf32x3 ask for. One kernel and one row of a database serve all three.
constexpr Precision computed_precision(const Problem& p) { return has_cache(p.op) ? Precision::kIeee : p.precision; }

/// What a compiled kernel is specialised on besides its config: cubins are shared by all problems of one trait.
struct KernelTraits {
  Dtype dtype = Dtype::kBf16;
  int head_dim = 64;
  int head_dim_v = 64;
  bool causal = false;
  bool windowed = false;
  bool paged = false;
  Op op = Op::kPrefill;
  Precision precision = Precision::kIeee;
  constexpr bool operator==(const KernelTraits&) const = default;
};

/// Whether the mask cuts among the new rows: one new row is the last of its sequence and sees all of it.
constexpr bool cuts_causally(const Problem& p) {
  return p.causal && p.op != Op::kAppend && !(p.op == Op::kDecode && p.seq_q == 1);
}

constexpr KernelTraits traits_of(const Problem& p) {
  const bool windowed = p.window > 0 && p.op != Op::kAppend;  // which masks nothing
  return {p.dtype, p.head_dim, p.head_dim_v, cuts_causally(p), windowed, p.page_size > 0, p.op, computed_precision(p)};
}

/// Keys of a decode problem's sequence that its new rows see together, at most: all, or as many as a window reaches to
/// either side of them.
constexpr int keys_in_reach(const Problem& p) {
  const long long reach = static_cast<long long>(p.window) * (p.causal ? 1 : 2) + p.seq_q;
  return p.window > 0 && reach < p.seq_kv ? static_cast<int>(reach) : p.seq_kv;
}

/// The first key that a decode's new rows see of a sequence of `length` keys.
constexpr int first_key_in_reach(const Problem& p, int length) {
  const long long first = static_cast<long long>(length) - p.seq_q - p.window + 1;  // of the first new row
  return p.window > 0 && first > 0 ? static_cast<int>(first) : 0;
}

/// Floating-point operations by the field's convention: 4 * B * H * Sq * Sk * D, of which a causal mask halves the
/// square part. Bottom-right alignment: row i sees seq_kv - seq_q + i + 1 keys.
constexpr double flops_of(const Problem& p) {
  const double sq = p.seq_q, sk = p.seq_kv;
  double pairs = sq * sk;
  if (p.causal) {
    const double rows = sq < sk ? sq : sk;  // rows that see at least one key
    pairs = rows * sk - rows * rows / 2;
  }
  if (p.window > 0) {
    const double reach = p.causal ? p.window : 2.0 * p.window - 1.0;
    if (pairs > sq * reach) pairs = sq * reach;
  }
  return 2.0 * p.batch * p.heads * pairs * (p.head_dim + p.head_dim_v);
}

/// Bytes that must move at least once: Q, K, V in, O out.
constexpr double bytes_of(const Problem& p) {
  return 1.0 * size_of(p.dtype) * p.batch *
         (1.0 * p.heads * p.seq_q * (p.head_dim + p.head_dim_v) +
          1.0 * p.kv_heads * p.seq_kv * (p.head_dim + p.head_dim_v));
}

}  // namespace flashtune
