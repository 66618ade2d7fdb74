// Separable resampling with fixed-point weights: rows first (contiguous, vectorised), then columns.
#include <algorithm>
#include <cmath>
#include <vector>

#include "image.h"

namespace tenfold {

namespace {

constexpr int kWeightBits = 14;  // weights of one output pixel add up to 1 << kWeightBits
constexpr int kRowBits = 6;      // the rows' result keeps 8 fractional bits: 8 + 14 - 6 = 16 bits

/// The source pixels that one output coordinate is mixed from.
struct Taps {
  int first = 0;
  int count = 0;
  size_t weights = 0;  // index of the first one
};

struct Filter {
  std::vector<Taps> taps;
  std::vector<int32_t> weights;
};

/// Rounds weights so that they add up exactly; the heaviest takes the difference.
void append_rounded(const std::vector<double>& exact, double total, std::vector<int32_t>& weights) {
  const size_t begin = weights.size();
  int32_t sum = 0;
  for (const double weight : exact) {
    weights.push_back(static_cast<int32_t>(std::lround(weight / total * (1 << kWeightBits))));
    sum += weights.back();
  }
  *std::max_element(weights.begin() + static_cast<std::ptrdiff_t>(begin), weights.end()) += (1 << kWeightBits) - sum;
}

/// Triangle filter; its half width is one output pixel when shrinking, one source pixel (bilinear) when enlarging.
Filter triangle_filter(int from, int to) {
  Filter filter;
  const double scale = static_cast<double>(from) / to;
  const double radius = std::max(1.0, scale);
  std::vector<double> exact;
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * scale - 0.5;
    const int first = std::max(0, static_cast<int>(std::floor(centre - radius)) + 1);
    const int end = std::min(from, static_cast<int>(std::ceil(centre + radius)));
    exact.clear();
    double total = 0;
    for (int source = first; source < end; ++source) {
      exact.push_back(std::max(0.0, 1.0 - std::abs(source - centre) / radius));
      total += exact.back();
    }
    filter.taps.push_back({first, end - first, filter.weights.size()});
    append_rounded(exact, total, filter.weights);
  }
  return filter;
}

/// sum = sum over the taps of weight * row, 16 bits with 8 fractional ones.
void mix_rows(const Image& source, const Taps& taps, const int32_t* weights, std::vector<uint32_t>& sum,
              std::vector<uint16_t>& mixed) {
  const size_t bytes = source.stride();
  std::fill(sum.begin(), sum.end(), 1U << (kRowBits - 1));
  for (int t = 0; t < taps.count; ++t) {
    const uint8_t* row = source.row(taps.first + t);
    const auto weight = static_cast<uint32_t>(weights[t]);
    for (size_t i = 0; i < bytes; ++i) sum[i] += weight * row[i];
  }
  for (size_t i = 0; i < bytes; ++i) mixed[i] = static_cast<uint16_t>(std::min(sum[i] >> kRowBits, 65535U));
}

void mix_columns(const std::vector<uint16_t>& mixed, const Filter& columns, uint8_t* out) {
  constexpr int kShift = kWeightBits + 8;
  for (const Taps& taps : columns.taps) {
    const uint16_t* in = mixed.data() + 3 * taps.first;
    const int32_t* weights = columns.weights.data() + taps.weights;
    uint32_t r = 1U << (kShift - 1), g = r, b = r;
    for (int t = 0; t < taps.count; ++t, in += 3) {
      const auto weight = static_cast<uint32_t>(weights[t]);
      r += weight * in[0];
      g += weight * in[1];
      b += weight * in[2];
    }
    *out++ = static_cast<uint8_t>(std::min(r >> kShift, 255U));
    *out++ = static_cast<uint8_t>(std::min(g >> kShift, 255U));
    *out++ = static_cast<uint8_t>(std::min(b >> kShift, 255U));
  }
}

}  // namespace

Image resize(const Image& source, int width, int height) {
  if (source.width == width && source.height == height) return source.clone();
  const Filter columns = triangle_filter(source.width, width);
  const Filter rows = triangle_filter(source.height, height);
  Image resized(width, height);
  std::vector<uint32_t> sum(source.stride());
  std::vector<uint16_t> mixed(source.stride());
  for (int y = 0; y < height; ++y) {
    const Taps& taps = rows.taps[static_cast<size_t>(y)];
    mix_rows(source, taps, rows.weights.data() + taps.weights, sum, mixed);
    mix_columns(mixed, columns, resized.row(y));
  }
  return resized;
}

}  // namespace tenfold
