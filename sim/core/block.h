// One block of threads: who waits where, and what went wrong. Its cluster says whose turn it is.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "sim/core/bank_conflicts.h"
#include "sim/core/fiber.h"
#include "sim/core/global_memory.h"
#include "sim/core/mbarrier.h"
#include "sim/core/ready_list.h"
#include "sim/core/shared_memory.h"
#include "sim/core/tma.h"
#include "sim/core/wgmma.h"
#include "sim/counters.h"

namespace flashtune::sim {

/// What a thread can wait in: instructions for which all lanes of a warp, or all threads of the block, must come.
enum class Meeting : unsigned char {
  kNone,
  kBlockBarrier,
  kNamedBarrier,
  kClusterArrival,
  kClusterBarrier,
  kWarpBarrier,
  kShuffle,
  kVote,
  kLdmatrix,
  kLdmatrixTrans,
  kMmaFp16,
  kMmaBf16,
  kMmaTf32,
  kWmmaLoad,
  kWmmaStore,
  kWmma,
  kStmatrix,
  kFromLane,
  kMbarrier,
  kProductWait,
  kProducts,
};
const char* name_of(Meeting meeting);

/// One kernel is one translation unit, in which a file has one name.
inline bool same(Site a, Site b) { return a.line == b.line && a.file == b.file; }

/// What a lane brings to a meeting, and where the outcome goes. The lane waits inside the instruction, so pointers into
/// its stack stay good; whoever comes last does the work of all.
struct LaneArguments {
  const unsigned char* row;  // ldmatrix
  unsigned address;
  unsigned* to;
  float* d;  // mma
  const unsigned* a;
  unsigned b[2];
  float value;  // shuffle
  int lane_mask;
  bool predicate;              // vote
  int number, source;          // from_lane
  const unsigned* from;        // stmatrix
  unsigned char* written_row;  // stmatrix
};

/// A copy that its thread has not waited for.
struct PendingCopy {
  unsigned to;
  const void* from;
  unsigned bytes;
  bool in_range;
  bool landed;
};

class Block;

/// A thread's stamp is its index above so many bits of a count.
constexpr unsigned kStampBits = 22;

struct Thread {
  Fiber fiber;
  Block* block = nullptr;
  unsigned index = 0;  // in the block
  bool done = false;
  Meeting waits_in = Meeting::kNone;
  Site site{};
  std::vector<PendingCopy> copies;  // oldest first; those past the last group's end are uncommitted
  std::vector<std::size_t> groups;  // where each committed group ends in `copies`

  const Mbarrier* mbarrier = nullptr;     // that it waits for, in kMbarrier
  unsigned parity = 0;                    // likewise
  unsigned stamp = 0;                     // its index and the number of its fence_async_copies()
  std::vector<BoxStore> stores;           // and these are to the stores of boxes
  std::vector<std::size_t> store_groups;  // what `copies` and `groups` are to copies
  unsigned char store_order = 0;          // an object for release and acquire
  ThreadProducts products;
};

struct Warp {
  LaneArguments lanes[32];
  unsigned size = 32;
  unsigned waiting = 0;  // lanes in the meeting below
  unsigned gone = 0;     // lanes that have returned
  Meeting meeting = Meeting::kNone;
  Site site{};
  LaneAccesses accesses;
  unsigned char order[2] = {};  // objects for release and acquire, one for odd and one for even barriers
  unsigned barriers = 0;
  bool arrived_in_cluster = false;  // and has not waited since
  bool waited_in_cluster = false;   // at least once: it knows that all blocks have begun
  unsigned cluster_opening = 0;     // that it waits for, or waited for last
};

/// bar.sync and bar.arrive with a number: warps come until there are as many threads as each of them says.
struct NamedBarrier {
  unsigned threads = 0;  // wanted; 0 when nobody has come
  unsigned came = 0;
  std::vector<unsigned> waiting;  // warps
  unsigned char order[2] = {};    // as in Warp
  unsigned opened = 0;
  Site site{};  // of who came first
};
constexpr int kNamedBarriers = 16;

/// What is the same for all blocks of a launch.
struct LaunchContext {
  const Kernel& kernel;
  const void* params;
  const GlobalMemory& global;
  FiberPool& fibers;
  SimOptions options;
  unsigned threads;
  unsigned smem_bytes;
  unsigned cluster;                        // blocks
  bool early;                              // the launches before need not have ended when a block begins
  mutable std::atomic<bool> late = false;  // past options.limit_s
};

class Cluster;

class Block {
 public:
  Block(const LaunchContext& context, Cluster& cluster, unsigned rank);
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block();

  // --- called by its cluster
  /// Becomes block `index`, and makes all of its threads ready.
  void begin(unsigned index);
  /// From here on `thread` of this block runs.
  void run_next(const Thread& thread) {
    running_ = this;
    current_ = thread.index;
  }
  /// Makes all lanes of a warp ready, none of which runs.
  void wake(unsigned warp);
  /// What abandoned threads have done becomes visible to whoever acquires `object`.
  void release_for_good(void* object);
  const Counters& counters() const { return counters_; }
  std::string report() const;
  std::string who_waits() const;

  /// The block whose thread runs on this OS thread.
  static Block& current() { return *running_; }

  // --- called by instructions, on the fiber of the thread that executes them
  Thread& thread() { return threads_[current_]; }
  unsigned thread_index() const { return current_; }
  unsigned index() const { return index_; }
  unsigned rank() const { return rank_; }
  bool ended() const { return live_ == 0; }
  /// One of its threads has waited for the launches before.
  void note_turn() { its_turn_ = true; }
  Cluster& cluster() { return cluster_; }
  unsigned lane() const { return current_ % 32; }
  Warp& warp() { return warps_[current_ / 32]; }
  LaneArguments& arguments() { return warp().lanes[lane()]; }
  SharedMemory& shared() { return shared_; }
  const LaunchContext& context() const { return context_; }
  Mbarriers& mbarriers() { return mbarriers_; }
  Warpgroup& warpgroup() { return warpgroups_[current_ / Warpgroup::kThreads]; }
  Thread& thread_of(unsigned index) { return threads_[index]; }
  Counters& count() { return counters_; }
  Random& random() { return random_; }
  const SimOptions& options() const { return context_.options; }
  /// Whether what is asynchronous and begins now is done at once, by the launch's timing of copies.
  bool lands_at_once() {
    return options().copies == CopyTiming::kEarly || (options().copies == CopyTiming::kRandom && random_.coin());
  }

  /// Waits until all lanes of the warp are at this instruction; the last one calls `work` for all of them.
  template <class Work>
  void meet_warp(Meeting meeting, Site site, Work&& work) {
    Warp& w = warp();
    if (arrive(w, meeting, site) < w.size) return wait();
    leave(w);
    work(w);
    w.accesses.flush(counters_);
    resume_warp();
  }
  void meet_block(Site site);
  void meet_named(int barrier, int threads, bool waits, Site site);
  void arrive_in_cluster(bool releases, Site site);
  void wait_in_cluster(Site site);

  /// The running thread, alone, waits until it is woken.
  void sleep(Meeting meeting, Site site);
  /// Wakes those who sleep in `meeting` and of whom `is_meant` holds.
  template <class IsMeant>
  void wake_those(Meeting meeting, const IsMeant& is_meant) {
    for (Thread& t : threads_)
      if (t.waits_in == meeting && is_meant(t)) wake(t);
  }

  /// Ends the launch with a report on the running thread. `describe` makes its text later, on the host's stack: this
  /// fiber is abandoned as it stands, and what it has allocated would never be freed.
  template <class Describe>
  [[noreturn]] void fail(Site site, const Describe& describe) {
    thread().site = site;
    description_ = &describe;
    describe_ = [](const void* description) -> std::string { return (*static_cast<const Describe*>(description))(); };
    abandon();
  }

  /// Fails when the launch is past its limit: called where a loop that never ends comes by.
  void check_time(Site site) {
    if (context_.late.load(std::memory_order_relaxed)) fail_late(site);
  }
  /// Fails when the launches before this one may still be running: what they write is not there yet, what they read
  /// must stay.
  void check_turn(const char* what, Site site);
  /// Fails unless all bytes of global memory lie in one allocation.
  void check_bounds(const void* p, std::size_t bytes, const char* what, Site site);
  /// Both, and that the address is a multiple of the size: an access by the running thread.
  void check_global(const void* p, std::size_t bytes, const char* what, Site site);
  /// Checks 16 bytes of shared memory before the copy engine or a product, which bypass the threads' own way to it,
  /// reads or writes them: whoever wrote them last must have fenced since.
  void check_fenced(unsigned address, const char* what, Site site);

  /// Lands copies of the running thread until at most `pending` groups are left.
  void land_copies(std::size_t pending);
  void land(const PendingCopy& copy);

 private:
  void wake(Thread& thread);
  static void fiber_main();
  [[noreturn]] void fail_late(Site site);
  unsigned arrive(Warp& w, Meeting meeting, Site site);
  void leave(Warp& w) { w.waiting = 0, w.meeting = Meeting::kNone; }
  void wait();
  void resume_warp();
  void open_block_barrier();
  void come(NamedBarrier& barrier, unsigned index, unsigned threads, bool waits, Site site);
  void thread_returns();
  [[noreturn]] void abandon();

  static inline constinit thread_local Block* running_ = nullptr;

  const LaunchContext& context_;
  Cluster& cluster_;
  Random& random_;  // the cluster's
  const unsigned rank_;
  SharedMemory shared_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  unsigned index_ = 0, current_ = 0, live_ = 0;
  NamedBarrier named_[kNamedBarriers];
  Mbarriers mbarriers_;
  std::vector<Warpgroup> warpgroups_;
  unsigned at_block_barrier_ = 0;
  unsigned block_barriers_ = 0;
  unsigned char order_[2] = {};  // as in Warp
  bool its_turn_ = true;         // the launches before have ended
  std::size_t global_hint_ = 0;
  Counters counters_;
  const void* description_ = nullptr;  // of fail
  std::string (*describe_)(const void*) = nullptr;
};

}  // namespace flashtune::sim
