// The wave: known refusals first, then the pool's results as they come.
#include "tuner/sweep/compile_wave.h"

#include <fmt/format.h>

#include "runtime/jit/cubin.h"
#include "tuner/sweep/compile_pool.h"

namespace flashtune {
namespace {

struct Queued {
  Candidate candidate;
  std::string refusal;  // what it is known by if it does not compile
};

CompiledCandidate settle(const Queued& queued, const Compiled& compiled, const Wave& wave, TrialBook& book) {
  const Candidate& candidate = queued.candidate;
  CompiledCandidate result;
  result.compiled = &compiled;
  if (!compiled.ok) {
    result.trial = book.draft(candidate, queued.refusal);
    book.end(result.trial, Outcome::kCompileError, first_error(compiled.log));
    return result;
  }
  result.trial = book.draft(candidate, compiled.digest, compiled.facts);
  if (!compiled.compiler.empty()) result.trial.compiler = compiled.compiler;  // a stored cubin may be another's
  if (const auto known = book.known(result.trial)) {
    result.trial = *known;
    result.known = true;
  } else if (compiled.facts.spill_bytes > wave.options.spill_limit_bytes) {
    book.end(
        result.trial, Outcome::kSpills,
        fmt::format("{} bytes spilled, the limit is {}", compiled.facts.spill_bytes, wave.options.spill_limit_bytes));
  } else if (const std::string words = serialisation_in_log(compiled.log); !words.empty()) {
    book.end(result.trial, Outcome::kSerialised, words);
  }
  return result;
}

}  // namespace

bool compile_wave(const Wave& wave, const std::vector<Candidate>& candidates, TrialBook& book) {
  CompilePool pool(wave.options.compile_threads);
  const auto total = static_cast<int>(candidates.size());
  int done = 0;
  std::vector<Queued> queue;  // by ticket
  for (const Candidate& candidate : candidates) {
    const KernelSpec spec{candidate, traits_of(wave.problem), wave.arch};
    Source source = wave.compiler.write(spec);
    std::string refusal = refusal_digest(source, wave.compiler.version);
    if (auto known = book.known(book.draft(candidate, refusal))) {
      CompiledCandidate refused{std::move(*known), true, nullptr};
      wave.take(refused, ++done, total);
      continue;
    }
    pool.submit([&wave, spec, source = std::move(source)] {
      Compiled compiled = wave.compiler.compile(source);
      if (compiled.ok) wave.prepare(spec);
      return compiled;
    });
    queue.push_back({candidate, std::move(refusal)});
  }
  if (queue.empty()) return true;
  // The first of a first wave is the default, which all others are compared with: it is waited for.
  pool.wait(0);
  for (int ticket = 0; ticket != -1; ticket = pool.wait_any()) {
    if (wave.expired()) return false;
    CompiledCandidate ready = settle(queue[static_cast<std::size_t>(ticket)], pool.wait(ticket), wave, book);
    wave.take(ready, ++done, total);
    pool.release(ticket);
  }
  return true;
}

}  // namespace flashtune
