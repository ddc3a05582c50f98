// The engine's decode: workspaces, kernels that problems share, captures that nobody prepared, and pinned chunks.
#include <gtest/gtest.h>

#include <filesystem>

#include "cache/codec.h"
#include "cache/database.h"
#include "cache/error.h"
#include "runtime/api/engine.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/tensors.h"
#include "tests/support/decode_problems.h"
#include "tests/support/fake_device.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

class DecodeEngine : public testing::Test {
 protected:
  void open(EngineOptions options) {
    auto fake = std::make_unique<FakeDevice>(fake_device_info(90));
    fake->register_kernel(
        "kernel",
        [this](const Launch& launch) { launched_.push_back(*static_cast<const DecodeParams*>(launch.params)); },
        sizeof(DecodeParams));
    device_ = fake.get();
    options.compile = [](const KernelSpec&) { return compiled_to("kernel"); };
    engine_ = std::make_unique<EngineImpl>(std::move(fake), options);
  }
  static Tensors tensors() { return {0x1000, 0x2000, 0x3000, 0x4000, 0, 0.1f}; }

  std::vector<DecodeParams> launched_;
  FakeDevice* device_ = nullptr;
  std::unique_ptr<EngineImpl> engine_;
};

TEST_F(DecodeEngine, AskForTheWorkspaceItNeeds) {
  open({});
  const Problem p = decode(2, 32, 8, 4096);
  EXPECT_THROW(engine_->forward(p, tensors(), 0, nullptr), Error);
  EXPECT_THROW(engine_->forward(p, tensors(), 0x100008, nullptr), Error);
  EXPECT_TRUE(launched_.empty());
  engine_->forward(p, tensors(), 0x100000, nullptr);
  ASSERT_EQ(launched_.size(), 1u);
  EXPECT_GT(engine_->workspace_bytes(p), 256u * 1024);
}

TEST_F(DecodeEngine, SplitsShareOneLoadedKernel) {
  open({});
  engine_->forward(decode(1, 32, 8, 4096), tensors(), 0x100000, nullptr);
  engine_->forward(decode(4, 32, 8, 4096), tensors(), 0x100000, nullptr);
  EXPECT_EQ(device_->loads, 1);
  ASSERT_EQ(launched_.size(), 2u);
  EXPECT_NE(launched_[0].splits, launched_[1].splits);
}

TEST_F(DecodeEngine, ASubstituteDuringCaptureKeepsItsSplitsWhereTheWorkspaceHasRoom) {
  open({});
  const Problem p = decode(1, 32, 8, 4096);
  const int wanted = config_of(engine_->decide(p).candidate).splits;
  ASSERT_GT(wanted, 5);
  int stream = 0;
  const auto splits_of_substitute = [&](int loaded) {
    engine_->forward_with({config_of(loaded)}, p, tensors(), 0x100000, nullptr);
    device_->capturing.insert(&stream);
    return config_of(engine_->forward(p, tensors(), 0x100000, &stream).candidate).splits;
  };
  EXPECT_EQ(splits_of_substitute(5), 5);
  open({});
  EXPECT_EQ(splits_of_substitute(wanted + 1), 1) << "its partial results need more memory than the caller was told";
}

TEST_F(DecodeEngine, PinnedHasNoSubstituteDuringCapture) {
  EngineOptions options;
  options.pinned_chunk = 256;
  open(options);
  const Problem p = decode(1, 32, 8, 4096);
  engine_->forward_with({config_of(5)}, p, tensors(), 0x100000, nullptr);
  int stream = 0;
  device_->capturing.insert(&stream);
  EXPECT_THROW(engine_->forward(p, tensors(), 0x100000, &stream), Error);
  EXPECT_TRUE(device_->captured.empty());
}

TEST_F(DecodeEngine, PinnedTakesStridesThatTheTunedKernelDoesNot) {
  EngineOptions options;
  options.pinned_chunk = 256;
  const ScratchFolder folder;
  options.database = folder.path() / "tuning.db";
  Best slabs;
  slabs.device = fake_device_info(90).key;
  slabs.driver = fake_device_info(90).driver;
  slabs.problem = decode(1, 32, 8, 4096);
  DecodeSplitConfig config = config_of(8);
  config.smem = SmemLayout::kSlabs;
  slabs.candidate = {config};
  slabs.timing.median_us = 10, slabs.timing.samples = 9;
  Database::open(*options.database).put_best(slabs);
  open(options);
  Problem p = decode(2, 32, 8, 4096);
  EXPECT_EQ(config_of(engine_->decide(p).candidate).smem, SmemLayout::kSlabs);
  p.k.batch = p.v.batch = 0;  // one cache for both sequences, which the copy engine does not take
  const Decision decision = engine_->decide(p);
  EXPECT_EQ(rejection_of(decision.candidate, p, limits_of(90)), Rejection::kNone);
  EXPECT_GT(config_of(decision.candidate).chunk, 0);
}

TEST_F(DecodeEngine, ExplainsWhatItDoesNotWhatTheDatabaseSays) {
  const auto chosen = [&](const Problem& problem) {
    std::string why;
    for (const Consideration& line : engine_->explain(problem)) {
      EXPECT_TRUE(!line.chosen || line.grade == engine_->decide(problem).grade);
      if (line.chosen) why += line.why;
    }
    return why;
  };
  EngineOptions options;
  options.pinned_chunk = 256;
  open(options);
  const Problem p = decode(4, 32, 8, 8192);
  EXPECT_NE(chosen(p).find("pinned"), std::string::npos) << chosen(p);
  EXPECT_NE(chosen(p).find("chunk=256"), std::string::npos) << chosen(p);
  open({});
  Problem strided;  // a prefill whose K and V the default's copy engine does not take
  strided.batch = 2, strided.heads = strided.kv_heads = 8;
  strided.seq_q = strided.seq_kv = 512;
  strided.head_dim = strided.head_dim_v = 128;
  strided = with_layout(strided, Layout::kBshd);
  strided.k.batch = strided.v.batch = 0;
  EXPECT_NE(chosen(strided).find(candidate_to_text(engine_->decide(strided).candidate)), std::string::npos)
      << chosen(strided);
}

TEST_F(DecodeEngine, PinnedTakesOneKernelAndOneChunkForAllBatches) {
  EngineOptions options;
  options.pinned_chunk = 200;
  open(options);
  const Decision one = engine_->decide(decode(1, 32, 8, 300)), many = engine_->decide(decode(64, 32, 8, 100000));
  EXPECT_EQ(one.candidate, many.candidate);
  const DecodeSplitConfig& config = config_of(one.candidate);
  EXPECT_EQ(config.splits, 1);
  EXPECT_GE(config.chunk, 200);
  EXPECT_EQ(config.chunk % config.bc, 0);
  engine_->forward(decode(3, 32, 8, 1000), tensors(), 0x100000, nullptr);
  EXPECT_EQ(launched_.at(0).chunk, config.chunk);
}

}  // namespace
}  // namespace flashtune
