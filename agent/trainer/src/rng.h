#pragma once

#include <cstdint>

namespace tenfold {

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class SplitMix64 {
 public:
  static constexpr uint64_t kGamma = 0x9E3779B97F4A7C15ULL;

  explicit constexpr SplitMix64(uint64_t state) : state_(state) {}

  /// The output function alone, without the increment: a bijection that scatters neighbouring numbers.
  static constexpr uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  constexpr uint64_t next() { return mix(state_ += kGamma); }

 private:
  uint64_t state_;
};

/// The random numbers of one sample in one epoch: augmentation is a function of (seed, epoch, sample id), whatever
/// rank or thread computes it and whatever came before.
class SampleRng {
 public:
  constexpr SampleRng(uint64_t seed, int64_t epoch, int64_t sample_id)
      : bits_(SplitMix64::mix(seed) ^ SplitMix64::mix(static_cast<uint64_t>(epoch) + SplitMix64::kGamma) ^
              SplitMix64::mix(SplitMix64::mix(static_cast<uint64_t>(sample_id) + 2 * SplitMix64::kGamma))) {}

  /// Uniform in [0, 1), with 53 random bits.
  constexpr double uniform() { return static_cast<double>(bits_.next() >> 11) * 0x1.0p-53; }

  /// Uniform in [low, high).
  constexpr double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// Uniform in 0..n-1; n > 0. The bias of the modulo is below n / 2^64.
  constexpr int64_t below(int64_t n) { return static_cast<int64_t>(bits_.next() % static_cast<uint64_t>(n)); }

  constexpr bool chance(double probability) { return uniform() < probability; }

 private:
  SplitMix64 bits_;
};

}  // namespace tenfold
