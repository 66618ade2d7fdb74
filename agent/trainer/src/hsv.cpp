#include "hsv.h"

#include <algorithm>

#include "vector_clones.h"

// Floating-point exceptions, infinities and the sign of zero are never looked at here; as long as they might be, GCC
// takes the selections below apart into branches or masks. Fused multiply-add would round differently where it exists.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("no-trapping-math", "finite-math-only", "no-signed-zeros", "fp-contract=off")
#endif

namespace tenfold {

namespace {

// These forms are exactly what the vector instructions compute.
inline float larger(float a, float b) {
  return a > b ? a : b;
}
inline float smaller(float a, float b) {
  return a < b ? a : b;
}
inline float distance(float a, float b) {
  return larger(a - b, b - a);
}
inline float within_one(float a) {
  return smaller(larger(a, 0.0f), 1.0f);
}

constexpr int kBlock = 64;  // pixels that are worked on at a time
using Block = float[kBlock];

/// Free of branches and of other types than float, so that it becomes vector code that needs no packing on the way.
[[gnu::always_inline]] inline void change_block(Block& red, Block& green, Block& blue, HsvGains gains) {
  for (int i = 0; i < kBlock; ++i) {
    const float r = red[i], g = green[i], b = blue[i];
    const float high = larger(larger(r, g), b), low = smaller(smaller(r, g), b);
    const float range = high - low;
    const float per_range = 1.0f / larger(range, 1.0f);  // levels are whole: below one there is only zero

    float hue = 4.0f + (r - g) * per_range;  // in sextants, 0..6
    hue = high == g ? 2.0f + (b - r) * per_range : hue;
    hue = high == r ? (g - b) * per_range : hue;
    hue = hue < 0.0f ? hue + 6.0f : hue;
    hue *= gains.hue;
    hue = hue >= 6.0f ? hue - 6.0f : hue;

    const float value = smaller(high * gains.value, 255.0f);
    const float saturation = smaller(range / larger(high, 1.0f) * gains.saturation, 1.0f);
    const float chroma = value * saturation;

    // How far each channel lies below the value, as a share of the chroma: a trapezium over the circle of hues.
    const float below_red = 2.0f - distance(hue, 3.0f);
    const float below_green = larger(2.0f - distance(hue, 5.0f), 1.0f - hue);
    const float below_blue = larger(2.0f - distance(hue, 1.0f), hue - 5.0f);
    red[i] = value - chroma * within_one(below_red);
    green[i] = value - chroma * within_one(below_green);
    blue[i] = value - chroma * within_one(below_blue);
  }
}

[[gnu::always_inline]] inline void widen(const uint8_t* bytes, Block& block) {
  for (int i = 0; i < kBlock; ++i) block[i] = bytes[i];
}

[[gnu::always_inline]] inline void narrow(const Block& block, uint8_t* bytes) {
  for (int i = 0; i < kBlock; ++i) bytes[i] = static_cast<uint8_t>(static_cast<int>(block[i] + 0.5f));
}

/// Changes kBlock pixels.
TENFOLD_VECTOR_CLONES
void change_pixels(uint8_t* red, uint8_t* green, uint8_t* blue, HsvGains gains) {
  alignas(64) Block r, g, b;
  widen(red, r);
  widen(green, g);
  widen(blue, b);
  change_block(r, g, b, gains);
  narrow(r, red);
  narrow(g, green);
  narrow(b, blue);
}

void change_rest(PlanarRow row, int count, HsvGains gains) {
  uint8_t pixels[3][kBlock] = {};
  std::copy_n(row.r, count, pixels[0]);
  std::copy_n(row.g, count, pixels[1]);
  std::copy_n(row.b, count, pixels[2]);
  change_pixels(pixels[0], pixels[1], pixels[2], gains);
  std::copy_n(pixels[0], count, row.r);
  std::copy_n(pixels[1], count, row.g);
  std::copy_n(pixels[2], count, row.b);
}

}  // namespace

void change_colours(PlanarOut picture, HsvGains gains) {
  // Up to twice the hue keeps a single subtraction enough to wrap it round.
  gains.hue = std::clamp(gains.hue, 0.0f, 1.999f);
  const PlanarRow all = picture.row(0);  // rows follow each other without gaps
  const auto count = static_cast<int>(picture.plane());
  int done = 0;
  for (; done + kBlock <= count; done += kBlock) {
    const PlanarRow block = all.from(done);
    change_pixels(block.r, block.g, block.b, gains);
  }
  if (done < count) change_rest(all.from(done), count - done, gains);
}

}  // namespace tenfold

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
