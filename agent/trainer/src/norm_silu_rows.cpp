#include "norm_silu_rows.h"

#include <algorithm>
#include <bit>

#include "vector_clones.h"

#define TENFOLD_INLINE inline __attribute__((always_inline))

namespace tenfold {
namespace {

/// Sums in float before they go on in double: few enough to lose nothing that counts.
constexpr int64_t kFloatSums = 64;

TENFOLD_INLINE float load(float value) { return value; }
TENFOLD_INLINE float load(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

TENFOLD_INLINE void store(float value, float& to) { to = value; }
/// To the nearest, ties to even.
TENFOLD_INLINE void store(float value, uint16_t& to) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  to = static_cast<uint16_t>(value == value ? rounded : 0x7fc0U);
}

/// e^x to one or two units in the last place: x = n ln 2 + r, and a polynomial in r (Moshier, "Methods and Programs for
/// Mathematical Functions", 1989). Outside of what a float holds it stays at the ends.
TENFOLD_INLINE float exponential(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: what is added to it loses its fraction
  x = std::min(std::max(x, -87.0F), 88.0F);
  const float n = (x * 1.44269504F + kRound) - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float value = p * r * r + r + 1.0F;
  return value * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

TENFOLD_INLINE float sigmoid(float x) { return 1.0F / (1.0F + exponential(-x)); }

// One tile each. The compiler vectorises a loop over arrays that it knows to be apart.

template <typename T>
TENFOLD_INLINE void moments_of_tile(const T* __restrict x, const float* __restrict shift, float* __restrict sum,
                                    float* __restrict square, int64_t length) {
  for (int64_t i = 0; i < length; ++i) {
    const float d = load(x[i]) - shift[i];
    sum[i] += d;
    square[i] += d * d;
  }
}

template <typename T>
TENFOLD_INLINE void silu_of_tile(const T* __restrict x, const float* __restrict scale, const float* __restrict offset,
                                 T* __restrict out, int64_t length) {
  for (int64_t i = 0; i < length; ++i) {
    const float y = load(x[i]) * scale[i] + offset[i];
    store(y * sigmoid(y), out[i]);
  }
}

template <typename T>
TENFOLD_INLINE void silu_gradient_of_tile(const T* __restrict x, const T* __restrict dout, const float* __restrict scale,
                                          const float* __restrict offset, const float* __restrict mean, T* __restrict dy,
                                          float* __restrict sum, float* __restrict product, int64_t length) {
  for (int64_t i = 0; i < length; ++i) {
    const float value = load(x[i]);
    const float y = value * scale[i] + offset[i];
    const float s = sigmoid(y);
    const float gradient = load(dout[i]) * s * (1.0F + y * (1.0F - s));
    store(gradient, dy[i]);
    sum[i] += gradient;
    product[i] += gradient * (value - mean[i]);
  }
}

template <typename T>
TENFOLD_INLINE void norm_gradient_of_tile(const T* __restrict x, const float* __restrict scale,
                                          const float* __restrict slope, const float* __restrict level, T* __restrict dy,
                                          int64_t length) {
  for (int64_t i = 0; i < length; ++i) store(load(dy[i]) * scale[i] + load(x[i]) * slope[i] + level[i], dy[i]);
}

/// Moves sums in float on to those in double.
TENFOLD_INLINE void carry(float* __restrict small, double* __restrict large, int64_t length) {
  for (int64_t i = 0; i < length; ++i) {
    large[i] += static_cast<double>(small[i]);
    small[i] = 0;
  }
}

/// Calls tile(offset, length) for each tile of the span.
template <typename T, typename Tile>
TENFOLD_INLINE void by_tile(const PixelSpan<T>& span, Tile&& tile) {
  for (int64_t at = 0; at < span.count; at += span.tile) tile(at, std::min(span.tile, span.count - at));
}

/// The same, and calls carry_on() after every kFloatSums of them and at the end.
template <typename T, typename Tile, typename CarryOn>
TENFOLD_INLINE void by_tile(const PixelSpan<T>& span, Tile&& tile, CarryOn&& carry_on) {
  const int64_t group = span.tile * kFloatSums;
  for (int64_t begin = 0; begin < span.count; begin += group) {
    const int64_t end = std::min(begin + group, span.count);
    for (int64_t at = begin; at < end; at += span.tile) tile(at, std::min(span.tile, end - at));
    carry_on();
  }
}

template <typename T>
TENFOLD_INLINE void moments(PixelSpan<const T> x, const float* shift, double* sum, double* square, float* scratch) {
  float *const small_sum = scratch, *const small_square = scratch + x.tile;
  std::fill(scratch, scratch + 2 * x.tile, 0.0F);
  by_tile(
      x,
      [=](int64_t at, int64_t length) __attribute__((always_inline)) {
        moments_of_tile(x.data + at, shift, small_sum, small_square, length);
      },
      [=]() __attribute__((always_inline)) { carry(small_sum, sum, x.tile), carry(small_square, square, x.tile); });
}

template <typename T>
TENFOLD_INLINE void scaled_silu(PixelSpan<const T> x, const float* scale, const float* offset, T* out) {
  by_tile(
      x,
      [=](int64_t at, int64_t length) __attribute__((always_inline)) {
        silu_of_tile(x.data + at, scale, offset, out + at, length);
      });
}

template <typename T>
TENFOLD_INLINE void silu_gradient(PixelSpan<const T> x, const T* dout, const float* scale, const float* offset,
                                  const float* mean, T* dy, double* sum, double* product, float* scratch) {
  float *const small_sum = scratch, *const small_product = scratch + x.tile;
  std::fill(scratch, scratch + 2 * x.tile, 0.0F);
  by_tile(
      x,
      [=](int64_t at, int64_t length) __attribute__((always_inline)) {
        silu_gradient_of_tile(x.data + at, dout + at, scale, offset, mean, dy + at, small_sum, small_product, length);
      },
      [=]() __attribute__((always_inline)) { carry(small_sum, sum, x.tile), carry(small_product, product, x.tile); });
}

template <typename T>
TENFOLD_INLINE void norm_gradient(PixelSpan<const T> x, const float* scale, const float* slope, const float* level, T* dy) {
  by_tile(
      x,
      [=](int64_t at, int64_t length) __attribute__((always_inline)) {
        norm_gradient_of_tile(x.data + at, scale, slope, level, dy + at, length);
      });
}

}  // namespace

TENFOLD_VECTOR_CLONES void add_moments(PixelSpan<const float> x, const float* shift, double* sum, double* square,
                                       float* scratch) {
  moments(x, shift, sum, square, scratch);
}
TENFOLD_VECTOR_CLONES void add_moments(PixelSpan<const uint16_t> x, const float* shift, double* sum, double* square,
                                       float* scratch) {
  moments(x, shift, sum, square, scratch);
}

TENFOLD_VECTOR_CLONES void scale_and_silu(PixelSpan<const float> x, const float* scale, const float* offset, float* out) {
  scaled_silu(x, scale, offset, out);
}
TENFOLD_VECTOR_CLONES void scale_and_silu(PixelSpan<const uint16_t> x, const float* scale, const float* offset,
                                          uint16_t* out) {
  scaled_silu(x, scale, offset, out);
}

TENFOLD_VECTOR_CLONES void silu_backward(PixelSpan<const float> x, const float* dout, const float* scale,
                                         const float* offset, const float* mean, float* dy, double* sum, double* product,
                                         float* scratch) {
  silu_gradient(x, dout, scale, offset, mean, dy, sum, product, scratch);
}
TENFOLD_VECTOR_CLONES void silu_backward(PixelSpan<const uint16_t> x, const uint16_t* dout, const float* scale,
                                         const float* offset, const float* mean, uint16_t* dy, double* sum,
                                         double* product, float* scratch) {
  silu_gradient(x, dout, scale, offset, mean, dy, sum, product, scratch);
}

TENFOLD_VECTOR_CLONES void norm_backward(PixelSpan<const float> x, const float* scale, const float* slope,
                                         const float* level, float* dy) {
  norm_gradient(x, scale, slope, level, dy);
}
TENFOLD_VECTOR_CLONES void norm_backward(PixelSpan<const uint16_t> x, const float* scale, const float* slope,
                                         const float* level, uint16_t* dy) {
  norm_gradient(x, scale, slope, level, dy);
}

}  // namespace tenfold
