// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE float shuffle_xor(float value, int lane_mask, sim::Site site = sim::Site::here()) {
  return sim::calls->shuffle_xor(value, lane_mask, site);
}
FT_DEVICE bool any_in_warp(bool predicate, sim::Site site = sim::Site::here()) {
  return sim::calls->any_in_warp(predicate, site);
}
FT_DEVICE int from_lane(int value, int lane, sim::Site site = sim::Site::here()) {
  return sim::calls->from_lane(value, lane, site);
}
FT_DEVICE int from_first_lane(int value, sim::Site site = sim::Site::here()) { return from_lane(value, 0, site); }
FT_DEVICE void sync_warp(sim::Site site = sim::Site::here()) { sim::calls->sync_warp(site); }
FT_DEVICE void sync_block(sim::Site site = sim::Site::here()) { sim::calls->sync_block(site); }
FT_DEVICE void sync_named(int barrier, int threads, sim::Site site = sim::Site::here()) {
  sim::calls->named_barrier(barrier, threads, true, site);
}
FT_DEVICE void arrive_named(int barrier, int threads, sim::Site site = sim::Site::here()) {
  sim::calls->named_barrier(barrier, threads, false, site);
}

}  // namespace flashtune
