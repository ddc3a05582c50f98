// What identifies a trial, buckets of problems, and how far problems are apart.
#include "cache/keys.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <new>
#include <random>
#include <set>
#include <type_traits>

#include "cache/codec.h"
#include "tests/support/cache_fixtures.h"
#include "tests/support/field_changes.h"

namespace {
long allocations = 0;  // counted by the operators below, which replace those of the whole program
}  // namespace

// Not inlined: g++ would take malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace flashtune {
namespace {

using testing::sample_problem;

/// One change for each field of Problem and each stride.
std::vector<std::function<void(Problem&)>> problem_changes() {
  std::vector<std::function<void(Problem&)>> changes;
  for (const testing::FieldChange& one : testing::field_changes(sample_problem())) changes.push_back(one.change);
  for (Strides Problem::*tensor : {&Problem::q, &Problem::k, &Problem::v, &Problem::o})
    for (long long Strides::*stride : {&Strides::batch, &Strides::head, &Strides::row})
      changes.emplace_back([=](Problem& p) { p.*tensor.*stride += 8; });
  return changes;
}

TEST(Keys, DigestPartsAsIfTheyWereJoined) {
  std::string joined;
  std::vector<std::string> texts;
  for (int i = 0; i < 40; ++i)
    joined += texts.emplace_back(static_cast<std::size_t>(i * i), static_cast<char>('a' + i % 26));
  EXPECT_EQ(digest_of_all({texts.begin(), texts.end()}), digest_of(joined));
  EXPECT_EQ(digest_of_all({"ab", "", "c"}), digest_of("abc"));
  EXPECT_EQ(digest_of_all({}), digest_of(""));
}

TEST(Keys, DigestIsOfTheBytes) {
  EXPECT_EQ(digest_of(""), "99aa06d3014798d86001c324468d497f");  // the published XXH3_128bits of nothing
  EXPECT_EQ(digest_of("a").size(), 32u);
  EXPECT_NE(digest_of("a"), digest_of("b"));
  EXPECT_NE(digest_of(std::string_view("a\0b", 3)), digest_of("a"));
}

TEST(Keys, EveryFieldOfATrialKeyChangesItsText) {
  const TrialKey base = testing::sample_key();
  // Stops compiling when a key gains a field: give it a change below.
  [[maybe_unused]] const auto& [device, candidate, problem, cubin_digest, policy] = base;
  [[maybe_unused]] const auto& [name, sm_count, arch] = base.device;
  std::vector<std::function<void(TrialKey&)>> changes = {
      [](TrialKey& k) { k.device.name += " NVL"; }, [](TrialKey& k) { k.device.sm_count = 78; },
      [](TrialKey& k) { k.device.arch = 100; }, [](TrialKey& k) { k.cubin_digest[0] = 'f'; },
      [](TrialKey& k) { k.policy = "cold-graph/2"; }};
  for (const auto& change : problem_changes()) changes.emplace_back([=](TrialKey& k) { change(k.problem); });
  visit_fields(std::get<PrefillMmaConfig>(base.candidate.config), [&](const char* wanted, const auto&) {
    changes.emplace_back([=](TrialKey& k) {
      visit_fields(std::get<PrefillMmaConfig>(k.candidate.config), [&](const char* field_name, auto& field) {
        using Field = std::remove_cvref_t<decltype(field)>;
        if (field_name == std::string(wanted)) field = static_cast<Field>(static_cast<int>(field) == 0 ? 1 : 0);
      });
    });
  });
  std::set<std::string> texts = {trial_key_text(base)};
  for (const auto& change : changes) {
    TrialKey changed = base;
    change(changed);
    ASSERT_NE(changed, base);
    EXPECT_TRUE(texts.insert(trial_key_text(changed)).second) << trial_key_text(changed);
  }
  EXPECT_EQ(texts.size(), changes.size() + 1);
}

TEST(Keys, TextThatMovesBetweenFieldsMakesAnotherKey) {
  TrialKey a = testing::sample_key(), b = a;
  a.cubin_digest = "x | y";
  a.policy = "z";
  b.cubin_digest = "x";
  b.policy = "y | z";
  EXPECT_NE(trial_key_text(a), trial_key_text(b));
  b.cubin_digest = "x \\";
  a.cubin_digest = "x ";
  a.policy = "\\| y | z";
  EXPECT_NE(trial_key_text(a), trial_key_text(b));
}

TEST(Buckets, LengthsAreExactBelow64AndQuartersOfPowersOfTwoAbove) {
  for (int n = 0; n <= 64; ++n) EXPECT_EQ(bucket_of_length(n), n);
  const std::map<int, int> expected = {{65, 80},     {80, 80},     {81, 96},     {97, 112},    {113, 128},
                                       {128, 128},   {129, 160},   {1000, 1024}, {1025, 1280}, {4096, 4096},
                                       {4097, 5120}, {5121, 6144}, {6145, 7168}, {7169, 8192}, {131073, 163840}};
  for (const auto& [length, bucket] : expected) EXPECT_EQ(bucket_of_length(length), bucket) << length;
}

TEST(Buckets, LengthsNeverShrinkNorGrowByMoreThanAQuarterAndAreStable) {
  int previous = 0;
  for (int n = 1; n < 300000; ++n) {
    const int bucket = bucket_of_length(n);
    ASSERT_GE(bucket, n);
    ASSERT_LE(bucket, n + n / 4);
    ASSERT_EQ(bucket_of_length(bucket), bucket);
    ASSERT_GE(bucket, previous);
    previous = bucket;
  }
  constexpr int kMost = std::numeric_limits<int>::max();
  EXPECT_EQ(bucket_of_length(kMost), kMost);
  EXPECT_EQ(bucket_of_batch(kMost), kMost);
}

TEST(Buckets, BatchGoesToTheNextPowerOfTwo) {
  const std::map<int, int> expected = {{1, 1}, {2, 2}, {3, 4}, {4, 4}, {5, 8}, {33, 64}, {1 << 30, 1 << 30}};
  for (const auto& [batch, bucket] : expected) EXPECT_EQ(bucket_of_batch(batch), bucket) << batch;
}

TEST(Buckets, KeepTheLayoutOfTheProblem) {
  for (const Layout layout : {Layout::kBshd, Layout::kBhsd, Layout::kPacked}) {
    const Problem bucket = bucket_of(with_layout(sample_problem(4000), layout));
    EXPECT_EQ(layout_of(bucket), layout);
    EXPECT_EQ(bucket, with_layout(sample_problem(4096), layout));
  }
  Problem strided = sample_problem();
  strided.q.row += 8;
  EXPECT_EQ(layout_of(bucket_of(strided)), Layout::kStrided);
  EXPECT_EQ(bucket_of(strided).q, Strides{});
}

TEST(Buckets, OfABucketIsItself) {
  Problem strided = sample_problem(3333);
  strided.v.head += 8;
  for (const Problem& p : {sample_problem(), sample_problem(1), sample_problem(65), sample_problem(3333), strided})
    EXPECT_EQ(bucket_of(bucket_of(p)), bucket_of(p));
}

TEST(BucketHash, IsEqualWhereBucketsAreAndDiffersWhereTheyDiffer) {
  std::map<std::uint64_t, Problem> seen;
  std::mt19937 random(1);
  const auto up_to = [&](int n) { return 1 + static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int i = 0; i < 100000; ++i) {
    Problem p;
    p.dtype = static_cast<Dtype>(up_to(2) - 1);
    p.batch = up_to(64);
    p.kv_heads = up_to(8);
    p.heads = p.kv_heads * up_to(8);
    p.seq_q = up_to(1 << up_to(16));
    p.seq_kv = up_to(1 << up_to(16));
    p.head_dim = p.head_dim_v = 8 * up_to(32);
    p.causal = up_to(2) == 1;
    p.window = up_to(3) == 1 ? up_to(5000) : 0;
    p = with_layout(p, static_cast<Layout>(up_to(2) - 1));
    const Problem bucket = bucket_of(p);
    ASSERT_EQ(bucket_hash(p), bucket_hash(bucket)) << problem_to_text(p);
    const auto [other, added] = seen.emplace(bucket_hash(p), bucket);
    ASSERT_TRUE(added || other->second == bucket)
        << problem_to_text(bucket) << " and " << problem_to_text(other->second);
  }
  EXPECT_GT(seen.size(), 10000u);
}

TEST(BucketHash, ChangesWithEveryFieldThatTheBucketHas) {
  const Problem base = sample_problem();
  for (const auto& change : problem_changes()) {
    Problem changed = base;
    change(changed);
    EXPECT_NE(bucket_hash(changed), bucket_hash(base)) << problem_to_text(changed);
  }
}

TEST(BucketHash, AllocatesNothing) {
  Problem p = sample_problem();
  const long before = allocations;
  std::uint64_t sum = 0;
  for (int i = 1; i < 1000; ++i) {
    p.seq_kv = i;
    sum += bucket_hash(p) + static_cast<std::uint64_t>(bucket_of(p).seq_kv);
  }
  EXPECT_EQ(allocations, before) << sum;
  EXPECT_GT(before, 0);  // the counter counts
}

TEST(Distance, IsNoneBetweenProblemsOfDifferentKernels) {
  const Problem base = sample_problem();
  Problem other = base;
  other.dtype = Dtype::kFp16;
  EXPECT_EQ(distance(base, other), std::nullopt);
  other = base;
  other.head_dim = other.head_dim_v = 64;
  EXPECT_EQ(distance(base, other), std::nullopt);
  other = base;
  other.causal = false;
  EXPECT_EQ(distance(base, other), std::nullopt);
  other = base;
  other.window = 128;
  EXPECT_EQ(distance(base, other), std::nullopt);
}

TEST(Distance, IsZeroToItselfSymmetricAndInPowersOfTwo) {
  const Problem base = sample_problem();
  EXPECT_EQ(distance(base, base), 0.0);
  Problem other = base;
  other.seq_kv *= 4;
  other = with_layout(other, Layout::kBshd);
  EXPECT_NEAR(distance(base, other).value(), 2.0, 1e-12);
  EXPECT_NEAR(distance(other, base).value(), 2.0, 1e-12);
}

TEST(Distance, GrowsWithEachSizeAndPrefersTheSameLayout) {
  const Problem base = sample_problem();
  const std::vector<std::function<void(Problem&)>> changes = {
      [](Problem& p) { p.batch *= 2; }, [](Problem& p) { p.heads *= 2; },  [](Problem& p) { p.kv_heads *= 2; },
      [](Problem& p) { p.seq_q *= 2; }, [](Problem& p) { p.seq_kv *= 2; },
  };
  for (const auto& change : changes) {
    Problem other = base;
    change(other);
    EXPECT_GE(distance(base, with_layout(other, Layout::kBshd)).value(), 1.0 - 1e-12) << problem_to_text(other);
  }
  const double other_layout = distance(base, with_layout(base, Layout::kBhsd)).value();
  EXPECT_GT(other_layout, 0);
  EXPECT_LT(other_layout, 1);
  // The same batch * heads, split otherwise, with the same group: the same work for the same kernel.
  Problem split = base;
  split.batch *= 2, split.heads /= 2, split.kv_heads /= 2;
  EXPECT_NEAR(distance(base, with_layout(split, Layout::kBshd)).value(), 0.0, 1e-12);
}

}  // namespace
}  // namespace flashtune
