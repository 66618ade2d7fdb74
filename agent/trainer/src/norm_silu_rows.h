// The arithmetic of a batch norm followed by SiLU, over rows of channels in memory. Elements are float, or bfloat16 as its
// upper 16 bits.
#pragma once

#include <cstdint>

namespace tenfold {

/// Pixels of a map in channels last, some of its rows: `count` elements in rows of `channels`. What belongs to a channel
/// (shift, scale, ...) is given `tile` elements long, over and over, a multiple of the channels: so short rows cost no more
/// than long ones.
template <typename T>
struct PixelSpan {
  T* data;
  int64_t count;
  int64_t tile;
};

/// Adds Σ (x - shift) and Σ (x - shift)² to `sum` and `square` (tile). `scratch` has room for two tiles.
void add_moments(PixelSpan<const float> x, const float* shift, double* sum, double* square, float* scratch);
void add_moments(PixelSpan<const uint16_t> x, const float* shift, double* sum, double* square, float* scratch);

/// out = silu(x scale + offset).
void scale_and_silu(PixelSpan<const float> x, const float* scale, const float* offset, float* out);
void scale_and_silu(PixelSpan<const uint16_t> x, const float* scale, const float* offset, uint16_t* out);

/// dy = dout silu'(x scale + offset); adds Σ dy and Σ dy (x - mean) to `sum` and `product` (tile).
void silu_backward(PixelSpan<const float> x, const float* dout, const float* scale, const float* offset, const float* mean,
                   float* dy, double* sum, double* product, float* scratch);
void silu_backward(PixelSpan<const uint16_t> x, const uint16_t* dout, const float* scale, const float* offset,
                   const float* mean, uint16_t* dy, double* sum, double* product, float* scratch);

/// dx = dy scale + x slope + level, in the place of dy.
void norm_backward(PixelSpan<const float> x, const float* scale, const float* slope, const float* level, float* dy);
void norm_backward(PixelSpan<const uint16_t> x, const float* scale, const float* slope, const float* level, uint16_t* dy);

}  // namespace tenfold
