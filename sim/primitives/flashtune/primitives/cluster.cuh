// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/words.cuh"

namespace flashtune {

FT_DEVICE void arrive_cluster(sim::Site site = sim::Site::here()) { sim::calls->arrive_cluster(true, site); }
FT_DEVICE void wait_cluster(sim::Site site = sim::Site::here()) { sim::calls->wait_cluster(site); }
FT_DEVICE void arrive_cluster_begun(sim::Site site = sim::Site::here()) { sim::calls->arrive_cluster(false, site); }
FT_DEVICE u32 in_block(u32 address, int rank, sim::Site site = sim::Site::here()) {
  return sim::calls->in_block(address, rank, site);
}
FT_DEVICE void store_cluster_16(u32 to, Vec16 v, sim::Site site = sim::Site::here()) {
  sim::calls->store_cluster_16(to, &v, site);
}
FT_DEVICE void store_cluster_8(u32 to, Vec8 v, sim::Site site = sim::Site::here()) {
  sim::calls->store_cluster_8(to, &v, site);
}
FT_DEVICE void send_16(u32 to, Vec16 v, u32 barrier, sim::Site site = sim::Site::here()) {
  sim::calls->send_16(to, &v, barrier, site);
}
FT_DEVICE void send_8(u32 to, Vec8 v, u32 barrier, sim::Site site = sim::Site::here()) {
  sim::calls->send_8(to, &v, barrier, site);
}

}  // namespace flashtune
