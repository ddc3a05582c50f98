// The judge where there is no GPU: proves a candidate where somebody can, and predicts its time from its cubin.
#pragma once

#include <vector>

#include "tuner/sweep/judge.h"

namespace flashtune {

class ModelledJudge final : public Judge {
 public:
  /// All must outlive it.
  ModelledJudge(SweptProblem& swept, const ReferenceDevice& device, const Prover& prover);

  const char* stage() const override { return "compile"; }
  void prepare(const KernelSpec& spec) const override;
  void take(CompiledCandidate& ready) override;
  std::vector<Candidate> fastest_first() override;
  /// The default stays where nothing is predicted to beat it.
  void crown() override;

 private:
  void predict(Trial& trial);

  SweptProblem& swept_;
  const ReferenceDevice& device_;
  const Prover& prover_;
};

}  // namespace flashtune
