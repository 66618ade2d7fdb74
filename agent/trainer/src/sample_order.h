#pragma once

#include <cstdint>
#include <vector>

namespace tenfold {

/// The order in which epoch `epoch` (from 1) visits the samples 0..n-1. A function of its arguments alone, so a
/// cursor means the same at any world size. Defined, with known answers, by the contract between agent and trainer
/// (test/fixtures/trainer-contract/README.md, "Sample order").
std::vector<int64_t> permutation(uint64_t seed, int64_t epoch, int64_t n);

/// The positions that `rank` takes of the global batch that starts at position `offset` of an epoch of `n` samples:
/// those whose index within the batch is congruent to `rank` modulo `world_size`. Empty when the epoch's last batch is
/// smaller than the world. Throws std::invalid_argument on a batch, world size or rank that makes no sense.
std::vector<int64_t> rank_positions(int64_t n, int64_t batch, int64_t offset, int world_size, int rank);

}  // namespace tenfold
