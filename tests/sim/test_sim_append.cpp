// kv_append on the simulated device: caches in either layout and in pages, every embedding, lengths and pages that
// cannot be, under every schedule; then a decode on what it wrote.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include <functional>

#include "cache/codec.h"
#include "cache/error.h"
#include "runtime/api/engine.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "tests/sim/bench.h"
#include "tests/support/append_case.h"
#include "tests/support/uploaded.h"
#include "tuner/judge/append_data.h"
#include "tuner/tensors/kv_cache.h"

namespace flashtune {
namespace {

AppendCase::LaunchFn launcher(SimDevice& device, const SimKernel& kernel, const Problem& problem) {
  return [&device, &kernel, plan = make_plan(kernel.candidate, problem, limits_of(kArch))](const AppendTensors& tensors,
                                                                                           DevicePtr workspace) {
    launch_plan(device, kernel.loaded, plan, tensors, workspace, nullptr);
  };
}

SimKernel kernel_for(SimDevice& device, const Problem& problem) {
  return load_kernel(device, compiler(), fallback(problem, limits_of(kArch)), traits_of(problem));
}

class EachHeadDim : public testing::TestWithParam<int> {};

TEST_P(EachHeadDim, EveryCacheAndEmbeddingIsRightUnderEverySchedule) {
  const int head_dim = GetParam();
  SimDevice device(kArch);
  int turn = 0;
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16, Dtype::kFp32})
    for (const int page_size : {0, 16, 64}) {
      const SimKernel kernel = kernel_for(device, append_problem(dtype, 1, 1, 1, 1, 1, head_dim, page_size));
      for (const Layout layout : {Layout::kBshd, Layout::kBhsd})
        for (const int new_rows : {1, 3, 16})
          for (const Rope rope : {Rope::kNone, Rope::kHalfSplit, Rope::kInterleaved}) {
            if (rope != Rope::kNone && head_dim < 16) continue;
            ++turn;
            if (kSanitized && turn % 5 != 0) continue;
            const Problem p = append_problem(dtype, 4, 6, 2, new_rows, 130, head_dim, page_size, layout);
            const AppendRequest request = request_of_turn(turn, new_rows, rope, head_dim);
            AppendCase one(device, p, request);
            for (const Lane& lane : lanes(1)) {
              device.set_options(lane.options);
              EXPECT_EQ(one.fault_of(launcher(device, kernel, p)), "")
                  << lane.name << ", " << problem_to_text(p) << ", rope " << name_of(rope) << " of "
                  << request.rotary_dim << " dims, queries " << turn % 3;
            }
          }
    }
}

INSTANTIATE_TEST_SUITE_P(Append, EachHeadDim, testing::Values(8, 64, 72, 128, 256),
                         [](const auto& one) { return fmt::format("d{}", one.param); });

TEST(KvAppend, WithoutLengthsAllSequencesAreFull) {
  for (const int page_size : {0, 16}) {
    const Problem p = append_problem(Dtype::kBf16, 3, 4, 4, 5, 40, 64, page_size);
    SimDevice device(kArch);
    const SimKernel kernel = kernel_for(device, p);
    AppendRequest request;
    request.rope = Rope::kHalfSplit, request.rotary_dim = 64, request.queries = Queries::kInPlace;
    EXPECT_EQ(AppendCase(device, p, request).fault_of(launcher(device, kernel, p)), "");
  }
}

TEST(KvAppend, ALengthThatCannotBeWritesNothingAndSetsItsBit) {
  for (const int page_size : {0, 16})
    for (const int length : {-1, 1, 2, 41, 1 << 30, -(1 << 30)}) {
      const Problem p = append_problem(Dtype::kFp16, 3, 2, 2, 3, 40, 64, page_size);
      SimDevice device(kArch);
      const SimKernel kernel = kernel_for(device, p);
      AppendRequest request;
      request.lengths = {40, length, 20};
      request.rope = Rope::kInterleaved, request.rotary_dim = 32, request.queries = Queries::kApart;
      AppendCase one(device, p, request);
      EXPECT_EQ(one.fault_of(launcher(device, kernel, p)), "") << length;
      EXPECT_EQ(one.status(), static_cast<unsigned>(kLengthOutOfRange)) << length;
    }
}

TEST(KvAppend, IdleSequencesAreNothingWrong) {
  const Problem p = append_problem(Dtype::kFp16, 2, 2, 2, 3, 40, 64);
  SimDevice device(kArch);
  const SimKernel kernel = kernel_for(device, p);
  AppendRequest request;
  request.lengths = {0, 0};
  request.queries = Queries::kApart;
  AppendCase one(device, p, request);
  EXPECT_EQ(one.fault_of(launcher(device, kernel, p)), "");
  EXPECT_EQ(one.status(), 0u);
}

TEST(KvAppend, APageThatCannotBeSkipsItsRowsAlone) {
  const Problem p = append_problem(Dtype::kBf16, 2, 2, 1, 16, 40, 128, 16);
  SimDevice device(kArch);
  const SimKernel kernel = kernel_for(device, p);
  for (const int page : {-1, 6, 0x7fffffff}) {
    AppendRequest request;
    request.lengths = {40, 40};  // rows 24 to 39: of pages 1 and 2
    request.pages = {{1, page}};
    request.rope = Rope::kHalfSplit, request.rotary_dim = 128, request.queries = Queries::kInPlace;
    AppendCase one(device, p, request);
    ASSERT_EQ(one.num_pages(), 6);
    EXPECT_EQ(one.fault_of(launcher(device, kernel, p)), "") << page;
    EXPECT_EQ(one.status(), static_cast<unsigned>(kPageOutOfRange)) << page;
  }
}

TEST(KvAppend, PagesThatItDoesNotWriteAreNotLookedUp) {
  const Problem p = append_problem(Dtype::kBf16, 2, 2, 1, 4, 40, 64, 16);
  SimDevice device(kArch);
  const SimKernel kernel = kernel_for(device, p);
  AppendRequest request;
  request.lengths = {20, 40};
  request.pages = {{0, -1}, {2, -1}, {3, -1}};
  AppendCase one(device, p, request);
  EXPECT_EQ(one.fault_of(launcher(device, kernel, p)), "");
  EXPECT_EQ(one.status(), 0u);
}

/// An engine on the simulated device.
std::unique_ptr<EngineImpl> open_engine(std::unique_ptr<Device> device) {
  EngineOptions options;
  options.compile = [](const KernelSpec& spec) { return compiler().compile(spec); };
  options.debug_checks = true;
  return std::make_unique<EngineImpl>(std::move(device), std::move(options));
}

/// The outputs of a decode on a cache that was filled at once, and on one whose last rows were appended.
TEST(KvAppend, ADecodeAfterItIsTheOneOnACacheFilledAtOnce) {
  const Lengths lengths = {100, 3, 64, 0, 33};
  constexpr std::pair<Dtype, int> kCaches[] = {
      {Dtype::kBf16, 0}, {Dtype::kBf16, 16}, {Dtype::kFp32, 0}, {Dtype::kFp32, 16}};
  for (const auto& [dtype, page_size] : kCaches) {
    Problem p = small_decode(lengths, 4, 2, 100, 64, page_size);
    p.dtype = dtype;
    p.seq_q = 3, p.causal = true;
    p = with_layout(p, Layout::kBshd);
    auto owned = std::make_unique<SimDevice>(kArch);
    Device& device = *owned;
    const auto engine = open_engine(std::move(owned));
    Problem append = p;
    append.op = Op::kAppend;
    engine->prepare({p, append});

    const Problem flat = without_pages(p);
    HostTensors whole = make_inputs(flat, InputKind::kNormal, 4, 0, lengths);
    PagedCache pages;
    if (page_size > 0) pages = into_pages(p, whole, lengths, 9);
    // What is appended, and the cache before that: NaN where the new rows go.
    const Strides packed = {3ll * 2 * 64, 64, 2 * 64};
    Elements k_new(p.dtype, lengths.size() * 3 * 2 * 64), v_new = k_new;
    HostTensors before = page_size > 0 ? HostTensors{{}, pages.k, pages.v} : whole;
    for (int b = 0; b < p.batch; ++b)
      for (int i = 0; i < 3 && lengths[static_cast<std::size_t>(b)] > 0; ++i)
        for (int head = 0; head < 2; ++head) {
          const int row = lengths[static_cast<std::size_t>(b)] - 3 + i;
          const std::size_t from = offset_of(flat.k, b, row, head), to = offset_of(packed, b, i, head);
          k_new.copy(to, whole.k, from, 64);
          v_new.copy(to, whole.v, from, 64);
          const int page = page_size > 0
                               ? pages.table[static_cast<std::size_t>(b) * static_cast<std::size_t>(pages.max_pages) +
                                             static_cast<std::size_t>(row / 16)]
                               : b;
          const std::size_t at = offset_of(p.k, page, page_size > 0 ? row % 16 : row, head);
          before.k.make_nan(at, 64);
          before.v.make_nan(at, 64);
        }

    const DeviceBuffer q = uploaded(device, whole.q), device_lengths = uploaded(device, lengths);
    const DeviceBuffer k_rows = uploaded(device, k_new), v_rows = uploaded(device, v_new);
    const DeviceBuffer table = uploaded(device, page_size > 0 ? pages.table : std::vector<int>{0});
    const DeviceBuffer workspace = uploaded(device, std::vector<char>(engine->workspace_bytes(p), 0));
    ASSERT_GE(engine->workspace_bytes(p), engine->workspace_bytes(append));
    Tensors tensors;
    tensors.q = q.get(), tensors.lengths = device_lengths.get(), tensors.scale = scale_of(p);
    if (page_size > 0)
      tensors.page_table = table.get(), tensors.num_pages = pages.num_pages, tensors.max_pages = pages.max_pages;
    const auto decoded = [&](const Elements& host_k, const Elements& host_v, bool with_append) {
      const DeviceBuffer k = uploaded(device, host_k), v = uploaded(device, host_v);
      Elements host_o(p.dtype, lengths.size() * 3 * 4 * 64);
      const DeviceBuffer o = uploaded(device, host_o);
      tensors.k = k.get(), tensors.v = v.get(), tensors.o = o.get();
      if (with_append) {
        AppendTensors rows;
        rows.k_new = k_rows.get(), rows.v_new = v_rows.get(), rows.k_new_strides = rows.v_new_strides = packed;
        rows.k = k.get(), rows.v = v.get(), rows.lengths = tensors.lengths, rows.page_table = tensors.page_table;
        rows.num_pages = tensors.num_pages, rows.max_pages = tensors.max_pages;
        engine->append(p, rows, workspace.get(), nullptr);
      }
      engine->forward(p, tensors, workspace.get(), nullptr);
      device.copy_out(host_o.data(), o.get(), o.size());
      return host_o;
    };
    const auto& full_k = page_size > 0 ? pages.k : whole.k;
    const auto& full_v = page_size > 0 ? pages.v : whole.v;
    const auto wanted = decoded(full_k, full_v, false);
    EXPECT_NE(decoded(before.k, before.v, false), wanted) << "the rows that are missing matter";
    EXPECT_EQ(decoded(before.k, before.v, true), wanted) << page_size;
  }
}

TEST(KvAppend, DebugChecksNameTheSequence) {
  auto owned = std::make_unique<SimDevice>(kArch);
  Device& device = *owned;
  const auto engine = open_engine(std::move(owned));
  const Problem p = append_problem(Dtype::kBf16, 3, 2, 2, 3, 40, 64, 16);
  const auto complaint = [&](const AppendRequest& request) {
    return AppendCase(device, p, request).fault_of([&](const AppendTensors& tensors, DevicePtr workspace) {
      engine->append(p, tensors, workspace, nullptr);
    });
  };
  AppendRequest request;
  request.lengths = {40, 2, 41};
  EXPECT_EQ(complaint(request),
            "append met lengths that cannot be: sequence 1 has length 2, which is less than its 3 new rows; sequence 2 "
            "has length 41, which is not between 0 and seq_kv = 40");
  request.lengths = {40, 20, 0};
  request.pages = {{3, 77}, {4, 99}};  // of which rows 17 to 19 need the second
  EXPECT_EQ(complaint(request),
            "append met pages that cannot be: sequence 1 has page 99 as its page 1, and there are 9");
  request.pages = {};
  EXPECT_EQ(complaint(request), "");
}

// --- what flashtune run --op append holds a GPU to

/// What is found when an append of `data` is launched as `change` makes it.
std::string found_with(const Problem& p, Rope rope, const std::function<void(AppendTensors&)>& change) {
  SimDevice device(kArch);
  const SimKernel kernel = kernel_for(device, p);
  AppendData data(device, p, rope);
  AppendTensors tensors = data.tensors();
  change(tensors);
  const DeviceBuffer workspace = uploaded(device, std::vector<char>(kAppendWorkspace, 0));
  launcher(device, kernel, p)(tensors, workspace.get());
  device.synchronize();
  return data.check().why;
}

TEST(AppendData, FindsNothingWrongWithARightAppend) {
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kFp32})
    for (const int page_size : {0, 16})
      for (const Layout layout : {Layout::kBshd, Layout::kBhsd})
        for (const Rope rope : {Rope::kNone, Rope::kHalfSplit, Rope::kInterleaved}) {
          Problem p = append_problem(dtype, 3, 4, 2, 2, 70, 72, page_size, layout);
          p = with_layout(p, layout);  // the queries too
          EXPECT_EQ(found_with(p, rope, [](AppendTensors&) {}), "") << problem_to_text(p) << " " << name_of(rope);
        }
}

TEST(AppendData, FindsNothingWrongWithWhatRightlyIsNoFiniteNumber) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  SimDevice device(kArch);
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16, Dtype::kFp32}) {
    const Problem p = with_layout(append_problem(dtype, 3, 4, 2, 2, 70, 64), Layout::kBshd);
    Problem rows = p;
    rows.op = Op::kPrefill, rows.seq_kv = p.seq_q;
    HostTensors in = make_inputs(with_layout(rows, Layout::kBshd), InputKind::kNormal, 1);
    for (Elements* tensor : {&in.q, &in.k, &in.v}) {
      std::size_t at = 0;
      // The last two: past fp16 once they are rotated.
      for (const float value : {kInf, -kInf, kNan, kInf, kInf, 65504.f, 65504.f}) tensor->set(5 * at++, value);
      tensor->set(32, kInf), tensor->set(37, -kInf), tensor->set(57, -65504.f);
    }
    const SimKernel kernel = kernel_for(device, p);
    for (const Rope rope : {Rope::kNone, Rope::kHalfSplit, Rope::kInterleaved}) {
      AppendData data(device, p, rope, in);
      const DeviceBuffer workspace = uploaded(device, std::vector<char>(kAppendWorkspace, 0));
      AppendTensors tensors = data.tensors();
      launcher(device, kernel, p)(tensors, workspace.get());
      EXPECT_EQ(data.check().why, "") << name_of(dtype) << " " << name_of(rope);
    }
    // And finds a finite number where none is right.
    AppendData data(device, p, Rope::kHalfSplit, in);
    const DeviceBuffer workspace = uploaded(device, std::vector<char>(kAppendWorkspace, 0));
    AppendTensors tensors = data.tensors();
    tensors.rope = Rope::kInterleaved;
    launcher(device, kernel, p)(tensors, workspace.get());
    EXPECT_NE(data.check().why, "");
  }
}

TEST(AppendData, FindsWhatIsMissingWrongOrTooMuch) {
  const Problem p = with_layout(append_problem(Dtype::kBf16, 3, 4, 2, 2, 70, 64, 16), Layout::kBshd);
  const auto found = [&](const auto& change) { return found_with(p, Rope::kHalfSplit, change); };
  EXPECT_NE(found([](AppendTensors& t) { t.rope = Rope::kInterleaved; }).find("is right"), std::string::npos);
  EXPECT_NE(found([](AppendTensors& t) { std::swap(t.cos, t.sin); }).find("is right"), std::string::npos);
  EXPECT_NE(found([](AppendTensors& t) { t.v_new = t.k_new; }).find("was to be copied"), std::string::npos);
  EXPECT_NE(found([](AppendTensors& t) { t.q = t.q_out = 0; }).find("Q at position"), std::string::npos);
  EXPECT_NE(found([](AppendTensors& t) { std::swap(t.k, t.v); }), "");
  EXPECT_NE(found([](AppendTensors& t) { t.lengths = 0; }), "") << "all of them at the end";
  // Two pages of the table apart: the rows are not where they belong, whatever else holds them.
  EXPECT_NE(found([](AppendTensors& t) {
              t.page_table += sizeof(int);
              t.max_pages -= 1;
            }),
            "");

  // Right, and then once more for other positions: rows that belong to nobody.
  SimDevice device(kArch);
  const SimKernel kernel = kernel_for(device, p);
  AppendData data(device, p, Rope::kNone);
  const DeviceBuffer workspace = uploaded(device, std::vector<char>(kAppendWorkspace, 0));
  const AppendCase::LaunchFn launch = launcher(device, kernel, p);
  launch(data.tensors(), workspace.get());
  AppendTensors elsewhere = data.tensors();
  const DeviceBuffer lengths = uploaded(device, Lengths{10, 10, 10});
  elsewhere.lengths = lengths.get();
  launch(elsewhere, workspace.get());
  EXPECT_NE(data.check().why.find("which is of no new row, was written"), std::string::npos);
}

}  // namespace
}  // namespace flashtune
