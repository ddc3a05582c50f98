// The named suites: head counts and dims of known models over a range of lengths, and cells that represent the rest.
#include "tuner/suites/suites.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>

#include "cache/error.h"
#include "tuner/suites/suite_file.h"

namespace flashtune {
namespace {

struct Heads {
  int heads, kv_heads, dim;
};

Problem prefill(const Heads& heads, int batch, int length, bool causal) {
  Problem p;
  p.batch = batch;
  p.heads = heads.heads;
  p.kv_heads = heads.kv_heads;
  p.seq_q = p.seq_kv = length;
  p.head_dim = p.head_dim_v = heads.dim;
  p.causal = causal;
  return with_layout(p, Layout::kBshd);
}

Problem decode(const Heads& heads, int batch, int context) {
  Problem p;
  p.op = Op::kDecode;
  p.batch = batch;
  p.heads = heads.heads;
  p.kv_heads = heads.kv_heads;
  p.seq_kv = context;
  p.head_dim = p.head_dim_v = heads.dim;
  p.causal = true;
  return with_layout(p, Layout::kBshd);
}

/// One new token for each sequence, each batch with each context.
std::vector<Problem> decoding(const std::vector<Heads>& models, const std::vector<int>& batches,
                              const std::vector<int>& contexts) {
  std::vector<Problem> problems;
  for (const Heads& heads : models)
    for (const int batch : batches)
      for (const int context : contexts) problems.push_back(decode(heads, batch, context));
  return problems;
}

/// Causal problems of one model, each batch with each length.
std::vector<Problem> model(const Heads& heads, const std::vector<int>& batches, const std::vector<int>& lengths) {
  std::vector<Problem> problems;
  for (const int batch : batches)
    for (const int length : lengths) problems.push_back(prefill(heads, batch, length, true));
  return problems;
}

/// Full and causal problems of (batch, length) cells.
std::vector<Problem> both_masks(const std::vector<Heads>& models, const std::vector<std::pair<int, int>>& cells) {
  std::vector<Problem> problems;
  for (const Heads& heads : models)
    for (const auto& [batch, length] : cells)
      for (const bool causal : {false, true}) problems.push_back(prefill(heads, batch, length, causal));
  return problems;
}

// Head counts of the tables that others publish: heads * dim is 2048.
constexpr Heads kDim64{32, 32, 64}, kDim128{16, 16, 128}, kDim256{8, 8, 256};

struct Named {
  const char* name;
  const char* what;
  std::function<std::vector<Problem>()> problems;
};

const std::vector<Named>& named_suites() {
  static const std::vector<Named> kSuites = {
      {"quick", "head dims 64 and 128, batch 4, 2048 tokens, full and causal",
       [] {
         return both_masks({kDim64, kDim128}, {{4, 2048}});
       }},
      {"standard", "head dims 64, 128 and 256, 512 and 4096 tokens, full and causal",
       [] {
         return both_masks({kDim64, kDim128, kDim256}, {{32, 512}, {4, 4096}});
       }},
      {"gpt2", "12 heads of 64, batch 1 to 32, 128 to 1024 tokens",
       [] {
         return model({12, 12, 64}, {1, 8, 32}, {128, 512, 1024});
       }},
      {"gpt3", "96 heads of 128, batch 1 and 4, 512 to 2048 tokens",
       [] {
         return model({96, 96, 128}, {1, 4}, {512, 1024, 2048});
       }},
      {"llama3-8b", "32 heads of 128 on 8 KV heads, batch 1 and 4, 512 to 8192 tokens",
       [] {
         return model({32, 8, 128}, {1, 4}, {512, 2048, 8192});
       }},
      {"llama3-70b", "64 heads of 128 on 8 KV heads, batch 1 and 4, 512 to 8192 tokens",
       [] {
         return model({64, 8, 128}, {1, 4}, {512, 2048, 8192});
       }},
      {"decode-quick", "32 heads of 128 on 8 KV heads, batch 1 and 16, contexts of 2048 and 16384",
       [] {
         return decoding({{32, 8, 128}}, {1, 16}, {2048, 16384});
       }},
      {"decode", "the head counts of llama3-8b, MHA and d64 models, batch 1 to 64, contexts of 1024 to 65536",
       [] {
         std::vector<Problem> problems =
             decoding({{32, 8, 128}, {32, 32, 128}, {16, 16, 64}}, {1, 8, 32}, {1024, 4096, 16384});
         for (const Problem& p : decoding({{32, 8, 128}, {64, 8, 128}}, {1, 4}, {65536})) problems.push_back(p);
         return problems;
       }},
      {"course-decode", "32 heads of 128, batch 16, a cache of 2048: the steps after a prompt of 1024",
       [] {
         return decoding({{32, 32, 128}}, {16}, {1024, 1152, 2048});
       }},
      {"course",
       "32 heads of 128, (batch 4, 128 tokens) and (64, 4096), full and causal: the four speedups over the default",
       [] {
         return both_masks({{32, 32, 128}}, {{4, 128}, {64, 4096}});
       }},
  };
  return kSuites;
}

bool names_a_file(const std::string& name) {
  constexpr const char kSuffix[] = ".json";
  const std::size_t length = sizeof(kSuffix) - 1;
  const bool json = name.size() >= length && name.compare(name.size() - length, length, kSuffix) == 0;
  return json || name.find('/') != std::string::npos;
}

}  // namespace

std::vector<std::string> suite_names() {
  std::vector<std::string> names;
  for (const Named& suite : named_suites()) names.emplace_back(suite.name);
  return names;
}

Suite load_suite(const std::string& name) {
  for (const Named& suite : named_suites())
    if (name == suite.name) return {suite.name, suite.what, suite.problems()};
  if (names_a_file(name)) return read_suite_file(name);
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("there is no suite '{}'; there are {}, or give a JSON file (a path that ends in .json)", name,
                          fmt::join(suite_names(), ", ")));
}

}  // namespace flashtune
