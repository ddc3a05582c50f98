// Turns, and reports of those who wait for ever.
#include "sim/core/cluster.h"

#include <fmt/format.h>

#include "sim/core/sanitizers.h"

namespace flashtune::sim {

Cluster::Cluster(const LaunchContext& context)
    : context_(context),
      ready_(context.options.schedule, context.threads * context.cluster),
      engine_(*this),
      sends_(*this) {
  for (unsigned rank = 0; rank < context.cluster; ++rank)
    blocks_.push_back(std::make_unique<Block>(context, *this, rank));
  // Grown on a fiber it would be freed on another, in which ThreadSanitizer sees a race of the kernel.
  barrier_.waiting.reserve((context.threads + 31) / 32 * context.cluster);
}

std::optional<std::string> Cluster::run(unsigned first) {
  random_ = Random(context_.options.seed + 0x10001u * first);
  ready_.clear();
  barrier_.came = 0;
  barrier_.waiting.clear();
  engine_.clear();
  sends_.clear();
  live_ = context_.threads * size();
  for (unsigned rank = 0; rank < size(); ++rank) blocks_[rank]->begin(first + rank);
  release(&lifetime_);
  host_.switch_to(take_turn());
  if (failed_)
    for (const auto& block : blocks_) block->release_for_good(&lifetime_);
  bystanders_.release_for_good(&lifetime_);
  // One cluster after the other in the same shared memory is no race.
  acquire(&lifetime_);
  if (!failed_) return std::nullopt;
  return report();
}

Counters Cluster::counters() const {
  Counters sum;
  for (const auto& block : blocks_) sum += block->counters();
  return sum;
}

bool Cluster::somebody_can_run() {
  while (ready_.empty())
    if (!engine_.land_one() && !sends_.land_one()) return false;
  return true;
}

Fiber& Cluster::take_turn() {
  engine_.land_by_chance();
  sends_.land_by_chance();
  Thread& next = ready_.pop(random_);
  next.block->run_next(next);
  return next.fiber;
}

void Cluster::wait() {
  if (!somebody_can_run()) abandon(nullptr);
  Fiber& self = Block::current().thread().fiber;
  Fiber& next = take_turn();
  if (&next != &self) self.switch_to(next);
}

void Cluster::yield_if_random() {
  if (context_.options.schedule != Schedule::kRandom) return;
  push(Block::current().thread());
  wait();
}

void Cluster::run_next_for_ever() {
  Fiber& self = Block::current().thread().fiber;
  if (--live_ == 0) self.switch_to(host_, true);
  if (!somebody_can_run()) abandon(nullptr);
  self.switch_to(take_turn(), true);
  __builtin_unreachable();
}

void Cluster::abandon(const Block* reporter) {
  failed_ = true;
  reporter_ = reporter;
  Block::current().thread().fiber.switch_to(host_, true);
  __builtin_unreachable();
}

bool Cluster::arrive(unsigned threads) {
  barrier_.came += threads;
  if (barrier_.came < context_.threads * size()) return false;
  barrier_.came = 0;
  ++barrier_.opened;
  for (const auto& [block, warp] : barrier_.waiting) block->wake(warp);
  barrier_.waiting.clear();
  return true;
}

std::string Cluster::report() const {
  if (reporter_ != nullptr)
    return fmt::format("kernel {}, block {}: {}", context_.kernel.entry, reporter_->index(), reporter_->report());
  const unsigned first = blocks_.front()->index(), last = blocks_.back()->index();
  const std::string who = first == last ? fmt::format("block {}", first) : fmt::format("blocks {} to {}", first, last);
  return fmt::format("kernel {}, {}: deadlock: no thread can go on.{}", context_.kernel.entry, who, who_waits());
}

std::string Cluster::who_waits() const {
  if (size() == 1) return blocks_.front()->who_waits();
  std::string text;
  for (unsigned rank = 0; rank < size();) {
    const std::string threads = blocks_[rank]->who_waits();
    const unsigned first = blocks_[rank]->index();
    unsigned count = 1;
    while (rank + count < size() && blocks_[rank + count]->who_waits() == threads) ++count;
    text += count == 1 ? fmt::format(" Block {}:", first) : fmt::format(" Blocks {} to {}:", first, first + count - 1);
    text += threads;
    rank += count;
  }
  return text;
}

}  // namespace flashtune::sim
