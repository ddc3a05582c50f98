// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE void init_mbarrier(u32 barrier, int arrivals, sim::Site site = sim::Site::here()) {
  sim::calls->init_mbarrier(barrier, arrivals, site);
}
FT_DEVICE void fence_mbarrier_init() { sim::calls->fence_mbarrier_init(); }
FT_DEVICE void arrive_mbarrier(u32 barrier, sim::Site site = sim::Site::here()) {
  sim::calls->arrive_mbarrier(barrier, 0, site);
}
FT_DEVICE void arrive_mbarrier_expecting(u32 barrier, int bytes, sim::Site site = sim::Site::here()) {
  sim::calls->arrive_mbarrier(barrier, bytes, site);
}
FT_DEVICE void arrive_mbarrier_of(u32 barrier, int rank, sim::Site site = sim::Site::here()) {
  sim::calls->arrive_mbarrier_of(barrier, rank, site);
}
FT_DEVICE void wait_mbarrier(u32 barrier, u32 parity, sim::Site site = sim::Site::here()) {
  sim::calls->wait_mbarrier(barrier, parity, false, site);
}
FT_DEVICE void wait_mbarrier_cluster(u32 barrier, u32 parity, sim::Site site = sim::Site::here()) {
  sim::calls->wait_mbarrier(barrier, parity, true, site);
}

}  // namespace flashtune
