// The decode steps of a course on attention, by the public API alone: after a prompt, each step appends a new row of K
// and V of every sequence to its cache and attends to all that it has. What is launched waits for nothing: the lengths
// lie on the device, an array for each step.
//
//   flashtune sweep --suite course-decode
//   decode_steps
//
// Exit codes: 0 the last step is right; 1 something failed, or it is wrong; 2 misuse; 3 there is no GPU that flashtune
// can use (stderr says why).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "flashtune/flashtune.hpp"

namespace flashtune {
namespace {

constexpr int kExitWrong = 1, kExitMisuse = 2, kExitNoGpu = 3;

struct Settings {
  int batch = 16, heads = 32, kv_heads = 32, head_dim = 128;
  int prompt = 1024, steps = 100, cache = 2048, rounds = 5;
  std::string device = "cuda:0", database, nvrtc;
};

void add_flags(CLI::App& app, Settings& settings) {
  const auto size = [&](const char* name, int& value, const char* what) {
    app.add_option(name, value, what)->check(CLI::Range(1, 1 << 20))->capture_default_str();
  };
  size("--batch", settings.batch, "sequences");
  size("--heads", settings.heads, "query heads");
  size("--kv-heads", settings.kv_heads, "heads of K and V, a divisor of those");
  size("--head-dim", settings.head_dim, "elements of a head");
  size("--prompt", settings.prompt, "keys before the first step");
  size("--steps", settings.steps, "new rows of each sequence");
  size("--cache", settings.cache, "keys that the cache holds");
  size("--rounds", settings.rounds, "how often all steps are timed");
  app.add_option("--device", settings.device, "cuda:N; sim skips")->capture_default_str();
  app.add_option("--db", settings.database, "tuning database (default: flashtune's own)");
  app.add_option("--nvrtc", settings.nvrtc, "NVRTC library or folder");
  app.final_callback([&settings] {
    if (settings.prompt + settings.steps > settings.cache)
      throw CLI::ValidationError("--cache", fmt::format("{} keys cannot hold {} of the prompt and {} steps",
                                                        settings.cache, settings.prompt, settings.steps));
    if (settings.heads % settings.kv_heads != 0)
      throw CLI::ValidationError("--kv-heads",
                                 fmt::format("{} does not divide {} heads", settings.kv_heads, settings.heads));
  });
}

// --- values: quarters from -1 to 1 in an order that looks random, which bf16 (the upper half of a float) holds exactly

using Bf16 = std::uint16_t;
float value_of(Bf16 bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::vector<Bf16> random_values(std::size_t count, std::uint32_t seed) {
  std::vector<Bf16> values(count);
  for (Bf16& value : values) {
    seed = seed * 1664525u + 1013904223u;
    const float quarter = static_cast<float>((seed >> 24) % 9) / 4.f - 1.f;
    value = static_cast<Bf16>(std::bit_cast<std::uint32_t>(quarter) >> 16);
  }
  return values;
}

/// Prompt, new rows and outputs of all steps, and what a step launches.
class Decoding {
 public:
  Decoding(Engine& engine, const Settings& settings)
      : engine_(engine),
        batch_(settings.batch),
        heads_(settings.heads),
        kv_heads_(settings.kv_heads),
        dim_(settings.head_dim),
        prompt_(settings.prompt),
        steps_(settings.steps),
        cache_(settings.cache),
        problem_(problem_of()),
        // A step's new key is one that its query looks at: an output that lacks it is far from right.
        host_q_(random_values(count(steps_, batch_, heads_), 1)),
        host_k_new_(new_keys()),
        host_v_new_(random_values(count(steps_, batch_, kv_heads_), 3)),
        host_k_(random_values(count(batch_, cache_, kv_heads_), 4)),
        host_v_(random_values(count(batch_, cache_, kv_heads_), 5)),
        q_(on_device(engine, host_q_)),
        k_new_(on_device(engine, host_k_new_)),
        v_new_(on_device(engine, host_v_new_)),
        k_(on_device(engine, host_k_)),
        v_(on_device(engine, host_v_)),
        o_(engine, count(batch_, heads_, 1) * sizeof(Bf16)),
        lengths_(on_device(engine, lengths())),
        workspace_(engine, std::max<std::size_t>(engine.workspace_bytes(problem_), 256)) {
    ft_problem append = problem_;
    append.op = FT_APPEND;
    engine.prepare({problem_, append});
  }

  int steps() const { return steps_; }
  const ft_problem& problem() const { return problem_; }

  /// Two launches.
  void step(int index) {
    const std::size_t new_row = count(index, batch_, kv_heads_);
    ft_append_tensors append = FT_APPEND_TENSORS_INIT;
    append.k_new = k_new_.at<Bf16>(new_row), append.v_new = v_new_.at<Bf16>(new_row);
    append.k_new_strides = append.v_new_strides = {1ll * kv_heads_ * dim_, dim_, 1ll * kv_heads_ * dim_};
    append.k = k_.get(), append.v = v_.get();
    append.lengths = lengths_.at<std::int32_t>(static_cast<std::size_t>(index) * static_cast<std::size_t>(batch_));
    append.capacity = cache_;
    engine_.append(problem_, append, workspace_.get());

    ft_tensors tensors = FT_TENSORS_INIT;
    tensors.q = q_.at<Bf16>(count(index, batch_, heads_));
    tensors.k = k_.get(), tensors.v = v_.get(), tensors.o = o_.get();
    tensors.lengths = append.lengths;
    tensors.capacity = cache_;
    engine_.forward(problem_, tensors, workspace_.get());
  }

  /// K and V that all steps together read.
  double bytes() const {
    double keys = 0;
    for (int i = 0; i < steps_; ++i) keys += prompt_ + i + 1;
    return keys * 2 * sizeof(Bf16) * batch_ * kv_heads_ * dim_;
  }

  /// The largest error of some heads of the last step, over what bf16 may err by.
  double worst_error() const {
    std::vector<Bf16> o(count(batch_, heads_, 1));
    o_.copy_out(o.data());
    double worst = 0;
    for (const auto& [b, h] :
         {std::array{0, 0}, std::array{batch_ / 2, heads_ / 3}, std::array{batch_ - 1, heads_ - 1}}) {
      const ExactRow exact = exact_row(b, h);
      for (std::size_t d = 0; d < exact.o.size(); ++d) {
        const double error = std::abs(value_of(o[count(b, heads_, 1) + count(h, 1, 1) + d]) - exact.o[d]);
        if (!(error / exact.bound[d] <= worst)) worst = error / exact.bound[d];  // a NaN stays
      }
    }
    return worst;
  }

 private:
  /// Elements of a x b x c heads.
  std::size_t count(int a, int b, int c) const {
    return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(c) *
           static_cast<std::size_t>(dim_);
  }

  /// Of the cache's strides; but no sequence will have more keys than the prompt's and the steps'.
  ft_problem problem_of() const {
    ft_problem problem;
    ft_problem_init(&problem, FT_BF16, batch_, heads_, kv_heads_, 1, cache_, dim_);
    problem.op = FT_DECODE;
    problem.causal = 1;
    require_ok(ft_problem_set_layout(&problem, FT_BSHD));
    problem.seq_kv = prompt_ + steps_;
    return problem;
  }

  std::vector<Bf16> new_keys() const {
    std::vector<Bf16> keys(count(steps_, batch_, kv_heads_));
    const auto dim = static_cast<std::ptrdiff_t>(dim_);
    for (int i = 0; i < steps_; ++i)
      for (int b = 0; b < batch_; ++b)
        for (int h = 0; h < kv_heads_; ++h) {
          const auto from = host_q_.begin() + static_cast<std::ptrdiff_t>(count(i * batch_ + b, heads_, 1)) +
                            static_cast<std::ptrdiff_t>(h) * (heads_ / kv_heads_) * dim;
          std::copy(from, from + dim,
                    keys.begin() + static_cast<std::ptrdiff_t>(count(i * batch_ + b, kv_heads_, 1)) + h * dim);
        }
    return keys;
  }

  std::vector<std::int32_t> lengths() const {
    std::vector<std::int32_t> all;
    for (int i = 0; i < steps_; ++i) all.insert(all.end(), static_cast<std::size_t>(batch_), prompt_ + i + 1);
    return all;
  }

  struct ExactRow {
    std::vector<double> o, bound;
  };
  /// In double precision, from the host's values: what the caches must hold by now is not read from them. A kernel
  /// rounds O once, and the weight of each key: four times what errors at random, independent of each other, sum up to.
  ExactRow exact_row(int b, int h) const {
    const int kv_head = h / (heads_ / kv_heads_), keys = prompt_ + steps_;
    const Bf16* const q = &host_q_[count((steps_ - 1) * batch_ + b, heads_, 1) + count(h, 1, 1)];
    const auto row = [&](const std::vector<Bf16>& prompt, const std::vector<Bf16>& added, int key) {
      const std::size_t head = count(kv_head, 1, 1);
      return key < prompt_ ? &prompt[count(b * cache_ + key, kv_heads_, 1) + head]
                           : &added[count((key - prompt_) * batch_ + b, kv_heads_, 1) + head];
    };
    std::vector<double> weights(static_cast<std::size_t>(keys));
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int key = 0; key < keys; ++key) {
      const Bf16* const k = row(host_k_, host_k_new_, key);
      double score = 0;
      for (int d = 0; d < dim_; ++d) score += static_cast<double>(value_of(q[d])) * value_of(k[d]);
      weights[static_cast<std::size_t>(key)] = score / std::sqrt(dim_);
      largest = std::max(largest, weights[static_cast<std::size_t>(key)]);
    }
    for (double& weight : weights) sum += weight = std::exp(weight - largest);
    ExactRow exact{std::vector<double>(static_cast<std::size_t>(dim_)), {}};
    std::vector<double> squares(exact.o.size());
    for (int key = 0; key < keys; ++key) {
      const Bf16* const v = row(host_v_, host_v_new_, key);
      for (std::size_t d = 0; d < exact.o.size(); ++d) {
        const double term = weights[static_cast<std::size_t>(key)] / sum * value_of(v[d]);
        exact.o[d] += term, squares[d] += term * term;
      }
    }
    constexpr double kHalfUnit = 0x1p-9;  // of bf16, relative
    for (std::size_t d = 0; d < exact.o.size(); ++d)
      exact.bound.push_back(kHalfUnit * (std::abs(exact.o[d]) + 4 * std::sqrt(squares[d])));
    return exact;
  }

  Engine& engine_;
  int batch_, heads_, kv_heads_, dim_, prompt_, steps_, cache_;
  ft_problem problem_;
  std::vector<Bf16> host_q_, host_k_new_, host_v_new_, host_k_, host_v_;
  Memory q_, k_new_, v_new_, k_, v_, o_, lengths_, workspace_;
};

double us_between(std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double, std::micro>(end - begin).count();
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::optional<Engine> open_engine(const Settings& settings) {
  if (settings.device == "sim") {
    fmt::print(stderr,
               "SKIPPED, no usable GPU: the public API has no simulated device, and its times would say nothing of a "
               "GPU\n");
    return std::nullopt;
  }
  ft_options options = default_options();
  if (std::sscanf(settings.device.c_str(), "cuda:%d", &options.device) != 1 || options.device < 0 ||
      settings.device != fmt::format("cuda:{}", options.device))
    throw CLI::ValidationError("--device", settings.device + ": supported: cuda:0, cuda:1, ..., and sim, which skips");
  if (!settings.database.empty()) options.database = settings.database.c_str();
  if (!settings.nvrtc.empty()) options.nvrtc = settings.nvrtc.c_str();
  try {
    return Engine(options);
  } catch (const Failure& failure) {
    if (failure.status() != FT_NOT_FOUND) throw;
    fmt::print(stderr, "SKIPPED, no usable GPU: {}\n", failure.what());
    return std::nullopt;
  }
}

int run(const Settings& settings) {
  std::optional<Engine> engine = open_engine(settings);
  if (!engine) return kExitNoGpu;
  Decoding decoding(*engine, settings);
  const ft_decision decision = engine->decide(decoding.problem());
  fmt::print("batch {}, {} heads on {}, head dim {}, bf16: a prompt of {}, {} steps, a cache of {}\n", settings.batch,
             settings.heads, settings.kv_heads, settings.head_dim, settings.prompt, settings.steps, settings.cache);
  fmt::print("{} ({})\n", engine->config_text(decoding.problem()), ft_grade_text(decision.grade));

  using Clock = std::chrono::steady_clock;
  std::vector<double> totals;
  for (int round = 0; round < settings.rounds + 1; ++round) {  // the first loads, and is not counted
    engine->synchronize();
    const auto begin = Clock::now();
    for (int i = 0; i < decoding.steps(); ++i) decoding.step(i);
    engine->synchronize();
    if (round > 0) totals.push_back(us_between(begin, Clock::now()));
  }
  const double error = decoding.worst_error();

  std::vector<double> alone;
  for (int i = 0; i < decoding.steps(); ++i) {
    const auto begin = Clock::now();
    decoding.step(i);
    engine->synchronize();
    alone.push_back(us_between(begin, Clock::now()));
  }

  const double total = median_of(totals);
  fmt::print(
      "{} steps in a row: {:.2f} us per step, {:.3f} ms in all (best round {:.3f}), {:.0f} tokens/s, {:.0f} GB/s of K "
      "and V\n",
      decoding.steps(), total / decoding.steps(), total / 1e3, *std::min_element(totals.begin(), totals.end()) / 1e3,
      settings.batch * decoding.steps() / total * 1e6, decoding.bytes() / total / 1e3);
  fmt::print("each step waited for: {:.2f} us (median), first {:.2f}, last {:.2f}\n", median_of(alone), alone.front(),
             alone.back());
  const bool right = error <= 1;
  fmt::print("the last step's error is {:.2f} of its bound: {}\n", error, right ? "right" : "WRONG");
  return right ? 0 : kExitWrong;
}

}  // namespace
}  // namespace flashtune

int main(int argc, char** argv) {
  CLI::App app("The decode steps of a course on attention, timed: append, then attend");
  flashtune::Settings settings;
  flashtune::add_flags(app, settings);
  try {
    app.parse(argc, argv);
    return flashtune::run(settings);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : flashtune::kExitMisuse;
  } catch (const std::exception& error) {
    fmt::print(stderr, "decode_steps: {}\n", error.what());
    return flashtune::kExitWrong;
  }
}
