// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/params.h"

namespace flashtune {

using u64 = unsigned long long;

struct BoxAt {
  int dim, row, head, batch;
};
struct GroupBoxAt {
  int dim, member, row, head, batch;
};
FT_DEVICE sim::BoxPlace place_of(BoxAt at) { return {4, {at.dim, at.row, at.head, at.batch, 0}}; }
FT_DEVICE sim::BoxPlace place_of(GroupBoxAt at) { return {5, {at.dim, at.member, at.row, at.head, at.batch}}; }

// There is no cache to keep anything in.
FT_DEVICE u64 keep_in_l2() { return 1; }
FT_DEVICE u64 evict_first_from_l2() { return 2; }
FT_DEVICE void prefetch_tensor_map(const TensorMap&) {}

FT_DEVICE void tma_load(u32 to, const TensorMap& map, BoxAt at, u32 barrier, sim::Site site = sim::Site::here()) {
  sim::calls->tma_load(to, &map, place_of(at), barrier, 0, site);
}
FT_DEVICE void tma_load(u32 to, const TensorMap& map, BoxAt at, u32 barrier, u64, sim::Site site = sim::Site::here()) {
  sim::calls->tma_load(to, &map, place_of(at), barrier, 0, site);
}
FT_DEVICE void tma_load(u32 to, const TensorMap& map, GroupBoxAt at, u32 barrier, sim::Site site = sim::Site::here()) {
  sim::calls->tma_load(to, &map, place_of(at), barrier, 0, site);
}
FT_DEVICE void tma_load(u32 to, const TensorMap& map, GroupBoxAt at, u32 barrier, u64,
                        sim::Site site = sim::Site::here()) {
  sim::calls->tma_load(to, &map, place_of(at), barrier, 0, site);
}
FT_DEVICE void tma_load_multicast(u32 to, const TensorMap& map, BoxAt at, u32 barrier, int blocks,
                                  sim::Site site = sim::Site::here()) {
  sim::calls->tma_load(to, &map, place_of(at), barrier, blocks, site);
}

FT_DEVICE void tma_store(const TensorMap& map, GroupBoxAt at, u32 from, sim::Site site = sim::Site::here()) {
  sim::calls->tma_store(&map, place_of(at), from, site);
}
FT_DEVICE void tma_store_commit() { sim::calls->tma_store_commit(); }
template <int kPending>
FT_DEVICE void tma_store_wait_read() {
  sim::calls->tma_store_wait(kPending);
}

FT_DEVICE void fence_async_copies() { sim::calls->fence_async_copies(); }

}  // namespace flashtune
