#include "hsv.h"

#include <algorithm>

// Floating-point exceptions are never looked at here; as long as they might be, GCC keeps the selections below as
// branches and the loop scalar, at a sixth of the speed.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

// Compiled twice where the loader can choose at start. Never with fused multiply-add, whose rounding would differ.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TENFOLD_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define TENFOLD_VECTOR_CLONES
#endif

namespace tenfold {

namespace {

/// RGB of hue (in sextants, 0..6), value and chroma (value * saturation), for n = 5, 3, 1 (red, green, blue):
/// V - C * clamp(min(k, 4 - k), 0, 1) with k = (n + hue) mod 6.
inline float channel(float n, float hue, float value, float chroma) {
  float k = n + hue;
  k = k >= 6.0f ? k - 6.0f : k;
  const float other = 4.0f - k;
  float part = k < other ? k : other;
  part = part < 0.0f ? 0.0f : part;
  part = part > 1.0f ? 1.0f : part;
  return value - chroma * part;
}

/// Free of branches, so that it becomes vector code.
TENFOLD_VECTOR_CLONES
void change_row(uint8_t* __restrict red, uint8_t* __restrict green, uint8_t* __restrict blue, int count,
                HsvGains gains) {
  for (int i = 0; i < count; ++i) {
    const float r = red[i], g = green[i], b = blue[i];
    const float high_rg = r > g ? r : g, low_rg = r < g ? r : g;
    const float high = high_rg > b ? high_rg : b, low = low_rg < b ? low_rg : b;
    const float range = high - low;
    const float per_range = 1.0f / (range > 0.0f ? range : 1.0f);

    float hue = 4.0f + (r - g) * per_range;
    hue = high == g ? 2.0f + (b - r) * per_range : hue;
    hue = high == r ? (g - b) * per_range : hue;
    hue = hue < 0.0f ? hue + 6.0f : hue;
    hue *= gains.hue;
    hue = hue >= 6.0f ? hue - 6.0f : hue;

    float value = high * gains.value;
    value = value > 255.0f ? 255.0f : value;
    float saturation = range / (high > 0.0f ? high : 1.0f) * gains.saturation;
    saturation = saturation > 1.0f ? 1.0f : saturation;
    const float chroma = value * saturation;

    red[i] = static_cast<uint8_t>(static_cast<int>(channel(5.0f, hue, value, chroma) + 0.5f));
    green[i] = static_cast<uint8_t>(static_cast<int>(channel(3.0f, hue, value, chroma) + 0.5f));
    blue[i] = static_cast<uint8_t>(static_cast<int>(channel(1.0f, hue, value, chroma) + 0.5f));
  }
}

}  // namespace

void change_colours(PlanarOut picture, HsvGains gains) {
  // Up to twice the hue keeps a single subtraction enough to wrap it round.
  gains.hue = std::clamp(gains.hue, 0.0f, 1.999f);
  uint8_t* const red = picture.data;
  for (int y = 0; y < picture.size; ++y) {
    const size_t at = static_cast<size_t>(y) * static_cast<size_t>(picture.size);
    change_row(red + at, red + picture.plane() + at, red + 2 * picture.plane() + at, picture.size, gains);
  }
}

}  // namespace tenfold
