// A tuned candidate for a problem or GPU beside the one it was tuned for.
#pragma once

#include "cache/records.h"

namespace flashtune {

/// A candidate that was tuned for one problem, on a GPU of `tuned_sms` SMs, as another is to use it on one of `sms`:
/// with as many splits as keep the GPU as full, and with as many keys each where the problems are too short to fill it.
/// On a GPU with other SMs a cluster has 8 blocks at most, which all can hold.
Candidate adapted(const Candidate& candidate, const Problem& tuned_for, int tuned_sms, const Problem& problem, int sms);

/// Whether a candidate that was tuned for one problem would read the keys of another more often than needed, as a
/// decode kernel for few packed rows does where the problem packs more.
bool reads_keys_again(const Candidate& candidate, const Problem& tuned_for, const Problem& problem);

}  // namespace flashtune
