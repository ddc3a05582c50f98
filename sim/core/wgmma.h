// Products of a warpgroup, made beside its threads, in order.
#pragma once

#include <memory>
#include <vector>

#include "flashtune/sim/calls.h"

namespace flashtune::sim {

class Block;

/// A thread's part: how far it has come in the row of its warpgroup's products.
struct ThreadProducts {
  unsigned started = 0;
  unsigned waited_for = 0;       // of these
  bool fenced = false;           // ever
  std::vector<unsigned> groups;  // committed and not waited for: how many were started then
  void clear() { started = waited_for = 0, fenced = false, groups.clear(); }
};

/// 128 threads. A product can be made when all of them have started it; none waits for the others before it waits for
/// the product.
struct Warpgroup {
  static constexpr unsigned kThreads = 128;
  static constexpr unsigned kMost = 256;  // products that are not made yet

  struct Started {
    Product product;
    Site site;
    float* d[kThreads];
    const unsigned* a[kThreads];
    unsigned threads;     // that have started it
    unsigned char order;  // an object for release and acquire
  };
  /// Operands as numbers.
  struct Operands {
    float a[64][16];
    float b[16][256];
  };
  void clear() { begun = complete = made = 0; }
  Started& at(unsigned number) { return ring[number % kMost]; }

  unsigned begun = 0;     // products that a thread has started,
  unsigned complete = 0;  // that all have,
  unsigned made = 0;      // and that are in the accumulators
  unsigned char order = 0;
  // Made when there is a first product.
  std::unique_ptr<Started[]> ring;
  std::unique_ptr<Operands> operands;
};

/// Fails when the running thread returns before products are in its accumulators.
void check_products_waited_for(Block& block);

// --- the instructions
void start_product(float* d, const Product& product, Site site);
void fence_products();
void commit_products();
void wait_for_products(int pending, Site site);

}  // namespace flashtune::sim
