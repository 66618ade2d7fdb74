#include "sample_order.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "rng.h"

namespace tenfold {

std::vector<int64_t> permutation(uint64_t seed, int64_t epoch, int64_t n) {
  if (n < 0) throw std::invalid_argument("permutation: n is negative");
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  SplitMix64 bits(SplitMix64::mix(seed) ^ SplitMix64::mix(static_cast<uint64_t>(epoch) + SplitMix64::kGamma));
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[bits.next() % (i + 1)]);
  return order;
}

std::vector<int64_t> rank_positions(int64_t n, int64_t batch, int64_t offset, int world_size, int rank) {
  if (batch <= 0 || offset < 0 || world_size <= 0 || rank < 0 || rank >= world_size)
    throw std::invalid_argument("rank_positions: batch, offset, world size or rank out of range");
  std::vector<int64_t> positions;
  const int64_t end = n - offset < batch ? n : offset + batch;
  for (int64_t position = offset + rank; position < end; position += world_size) positions.push_back(position);
  return positions;
}

}  // namespace tenfold
