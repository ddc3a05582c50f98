// The one list of a Problem's fields, each with its roles, and the list of a kernel's traits. Texts, JSON, keys,
// buckets, flags, suites and the C API walk along them. No standard header, as in problem.h.
#pragma once

#include "flashtune/shared/problem.h"

namespace flashtune {

/// What a bucket keeps of a number: itself, the next power of two, or the next step of the ladder of lengths.
enum class BucketRule : int { kExact = 0, kPowerOfTwo, kLadder };

/// What a field is to a kernel, and so how far apart two problems are that differ in it.
enum class KernelRole : int {
  kCompiled = 0,     // a kernel is compiled for its value: no row of another value answers
  kWhetherCompiled,  // for whether it is 0; its value is given at launch, like that of a kSize
  kSize,             // given at launch: a row of another value may answer, and is the farther the more they differ
  kJoinedSize,       // the same, but distance() joins it with others to one size
};

/// Whether texts and JSON have the field always, or only where it holds another value than the default. A new field is
/// of the second kind, so that old keys stay.
enum class Written : int { kAlways = 0, kUnlessDefault };

/// For which operations a person must say the field.
enum class Needed : int { kNever = 0, kAlways, kByPrefill, kByDecode };

/// A field of Problem. The functions are there for fields that follow from others.
template <class T>
struct Field {
  using Type = T;
  T Problem::*member;
  const char* name;       // in JSON and suites and of the C struct's member; a flag's has hyphens for underscores
  const char* word = "";  // in texts: what stands before a number, the word for true, how the tokens of an enum that is
                          // left out at its default begin
  const char* word_if_false = "";
  BucketRule bucket = BucketRule::kExact;
  KernelRole kernel = KernelRole::kCompiled;
  Written written = Written::kAlways;
  Needed needed = Needed::kNever;
  T (*computed)(const Problem&) = nullptr;  // what kernels compute, whatever was asked: a bucket keeps that
  T(*usual)
  (const Problem&) = nullptr;  // what is meant where nobody says, by the fields before it in the list; else
                               // what a Problem begins with
};

/// Calls f(field, a.field, b.field, ...) for each field of the list, in its order. The structs have members of these
/// names: Problems, the C struct, texts as typed.
template <class F, class... S>
constexpr void visit_problems(F&& f, S&... s) {
  using P = Problem;
  f(Field<Op>{.member = &P::op, .name = "op"}, s.op...);
  f(Field<Dtype>{.member = &P::dtype, .name = "dtype"}, s.dtype...);
  f(Field<int>{.member = &P::batch,
               .name = "batch",
               .word = "b",
               .bucket = BucketRule::kPowerOfTwo,
               .kernel = KernelRole::kJoinedSize},
    s.batch...);
  f(Field<int>{.member = &P::heads,
               .name = "heads",
               .word = "h",
               .kernel = KernelRole::kJoinedSize,
               .needed = Needed::kAlways},
    s.heads...);
  f(Field<int>{.member = &P::kv_heads,
               .name = "kv_heads",
               .word = "kv",
               .kernel = KernelRole::kJoinedSize,
               .usual = [](const P& p) { return p.heads; }},
    s.kv_heads...);
  f(Field<int>{.member = &P::seq_q,
               .name = "seq_q",
               .word = "q",
               .bucket = BucketRule::kLadder,
               .kernel = KernelRole::kSize,
               .needed = Needed::kByPrefill},
    s.seq_q...);
  f(Field<int>{.member = &P::seq_kv,
               .name = "seq_kv",
               .word = "k",
               .bucket = BucketRule::kLadder,
               .kernel = KernelRole::kSize,
               .needed = Needed::kByDecode,
               .usual = [](const P& p) { return p.seq_q; }},
    s.seq_kv...);
  f(Field<int>{.member = &P::head_dim, .name = "head_dim", .word = "d", .needed = Needed::kAlways}, s.head_dim...);
  f(
      Field<int>{
          .member = &P::head_dim_v, .name = "head_dim_v", .word = "dv", .usual = [](const P& p) { return p.head_dim; }},
      s.head_dim_v...);
  f(
      Field<bool>{
          .member = &P::causal, .name = "causal", .word = "causal", .word_if_false = "full", .computed = cuts_causally},
      s.causal...);
  f(Field<int>{.member = &P::window,
               .name = "window",
               .word = "w",
               .bucket = BucketRule::kLadder,
               .kernel = KernelRole::kWhetherCompiled},
    s.window...);
  f(Field<int>{.member = &P::page_size,
               .name = "page_size",
               .word = "page",
               .kernel = KernelRole::kWhetherCompiled,
               .written = Written::kUnlessDefault},
    s.page_size...);
  f(Field<Precision>{.member = &P::precision,
                     .name = "precision",
                     .word = "tf32",
                     .written = Written::kUnlessDefault,
                     .computed = computed_precision,
                     .usual = [](const P& p) { return usual_precision(p.dtype); }},
    s.precision...);
}

/// The same of one struct: visit_problem(p, [](const auto& field, auto& value) { ... }).
template <class P, class F>
constexpr void visit_problem(P& p, F&& f) {
  visit_problems(f, p);
}

/// Calls f(name, a.tensor, b.tensor, ...) for the strides of each tensor.
template <class F, class... S>
constexpr void visit_strides(F&& f, S&... s) {
  f("q", s.q...);
  f("k", s.k...);
  f("v", s.v...);
  f("o", s.o...);
}

/// Calls f(name, value) for each of a kernel's traits, in the order of the struct.
template <class F>
constexpr void visit_traits(const KernelTraits& t, F&& f) {
  f("dtype", t.dtype);
  f("head_dim", t.head_dim);
  f("head_dim_v", t.head_dim_v);
  f("causal", t.causal);
  f("windowed", t.windowed);
  f("paged", t.paged);
  f("op", t.op);
  f("precision", t.precision);
}

/// Whether the text of `p` has the field.
template <class T>
constexpr bool is_written(const Field<T>& field, const Problem& p) {
  return field.written == Written::kAlways || p.*field.member != Problem{}.*field.member;
}

/// Whether a person who asks for `op` must say the field.
template <class T>
constexpr bool is_needed(const Field<T>& field, Op op) {
  return field.needed == Needed::kAlways || (field.needed == Needed::kByPrefill && op == Op::kPrefill) ||
         (field.needed == Needed::kByDecode && op == Op::kDecode);
}

/// What the field is where nobody says, in a problem of which the fields before it are known.
template <class T>
constexpr T usual_of(const Field<T>& field, const Problem& p) {
  return field.usual != nullptr ? field.usual(p) : Problem{}.*field.member;
}

// --- the lists are whole: counted against the structs themselves, because a size in bytes can hide a new field in
// padding

/// Stands for a value of any type.
struct AnyValue {
  template <class T>
  constexpr operator T() const;
};

/// How many members an aggregate has: the most values that it can be made from.
template <class Aggregate, class... Values>
constexpr int member_count() {
  if constexpr (requires { Aggregate{Values{}..., AnyValue{}}; })
    return member_count<Aggregate, Values..., AnyValue>();
  else
    return static_cast<int>(sizeof...(Values));
}

constexpr int listed_in_problem() {
  Problem p;
  int count = 0;
  visit_problem(p, [&count](const auto&, const auto&) { ++count; });
  visit_strides([&count](const char*, const Strides&) { ++count; }, p);
  return count;
}
constexpr int listed_in_traits() {
  int count = 0;
  visit_traits(KernelTraits{}, [&count](const char*, const auto&) { ++count; });
  return count;
}
static_assert(listed_in_problem() == member_count<Problem>(), "list each field of Problem in visit_problems()");
static_assert(listed_in_traits() == member_count<KernelTraits>(), "list each field of KernelTraits in visit_traits()");

}  // namespace flashtune
