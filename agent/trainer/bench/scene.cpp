#include "scene.h"

#include <algorithm>
#include <array>

#include "rng.h"

namespace tenfold::bench {

namespace {

constexpr int kLevelBits = 8;  // heights are in 1/256 of a level

/// Value noise: random heights on a grid of `cell` pixels, mixed linearly between. Whole numbers only.
class Noise {
 public:
  Noise(uint64_t seed, int cell, int amplitude) : seed_(seed), cell_(cell), amplitude_(amplitude) {}

  int at(int x, int y) const {
    const int column = x / cell_, row = y / cell_, right = x % cell_, down = y % cell_;
    const int upper = height(column, row) * (cell_ - right) + height(column + 1, row) * right;
    const int lower = height(column, row + 1) * (cell_ - right) + height(column + 1, row + 1) * right;
    return (upper / cell_ * (cell_ - down) + lower / cell_ * down) / cell_;
  }

 private:
  int height(int column, int row) const {
    const uint64_t bits = SplitMix64::mix(seed_ ^ SplitMix64::mix(static_cast<uint64_t>(column) << 32 | static_cast<uint64_t>(row)));
    return (static_cast<int>(bits >> 40 & 0xFFFF) - 0x8000) * amplitude_ / 0x8000 * (1 << kLevelBits);
  }

  uint64_t seed_;
  int cell_, amplitude_;
};

using Colour = std::array<int, 3>;

Colour random_colour(SampleRng& rng) {
  return {static_cast<int>(rng.below(200)) + 28, static_cast<int>(rng.below(200)) + 28,
          static_cast<int>(rng.below(200)) + 28};
}

struct Object {
  int cls = 0;
  int left = 0, top = 0, width = 0, height = 0;
  bool round = false;
  Colour colour{};
  int stripe = 0;  // pixels

  bool covers(int x, int y) const {
    if (x < left || x >= left + width || y < top || y >= top + height) return false;
    if (!round) return true;
    const double u = (x + 0.5 - left) / width * 2 - 1, v = (y + 0.5 - top) / height * 2 - 1;
    return u * u + v * v < 1;
  }
};

Object random_object(int width, int height, SampleRng& rng) {
  Object object;
  object.cls = static_cast<int>(rng.below(3));
  object.width = width / 16 + static_cast<int>(rng.below(width / 4));
  object.height = height / 16 + static_cast<int>(rng.below(height / 4));
  object.left = static_cast<int>(rng.below(width - object.width));
  object.top = static_cast<int>(rng.below(height - object.height));
  object.round = object.cls == 0;
  object.colour = random_colour(rng);
  object.stripe = 3 + static_cast<int>(rng.below(20));
  return object;
}

/// Layers from hills of half the picture to grain of two pixels; each finer one is fainter.
std::vector<Noise> layers(uint64_t seed, int coarsest) {
  std::vector<Noise> noise;
  int amplitude = 90;
  for (int cell = coarsest; cell >= 2; cell /= 2, amplitude = amplitude * 5 / 7)
    noise.emplace_back(SplitMix64::mix(seed + static_cast<uint64_t>(cell)), cell, amplitude);
  return noise;
}

Label label_of(const Object& object, int width, int height) {
  const auto share = [](double part, int whole) { return static_cast<float>(part / whole); };
  return {object.cls, share(object.left + object.width / 2.0, width), share(object.top + object.height / 2.0, height),
          share(object.width, width), share(object.height, height)};
}

}  // namespace

Scene make_scene(int width, int height, uint64_t seed) {
  SampleRng rng(seed, 0, 0);
  const Colour ground = random_colour(rng);
  std::vector<Object> objects;
  for (int i = 0; i < 6; ++i) objects.push_back(random_object(width, height, rng));
  const std::vector<Noise> light = layers(seed, height / 2);
  const Noise tint(SplitMix64::mix(seed), height / 3, 40);

  Scene scene{Image(width, height), {}};
  for (const Object& object : objects) scene.labels.push_back(label_of(object, width, height));
  for (int y = 0; y < height; ++y) {
    uint8_t* pixel = scene.image.row(y);
    for (int x = 0; x < width; ++x, pixel += 3) {
      int brightness = 0;
      for (const Noise& layer : light) brightness += layer.at(x, y);
      Colour colour = ground;
      for (const Object& object : objects)
        if (object.covers(x, y)) {
          colour = object.colour;
          if ((x + y) / object.stripe % 2 == 0) brightness += 20 << kLevelBits;
        }
      const int warmth = tint.at(x, y);
      const int grain = static_cast<int>(rng.below(9)) - 4;
      for (size_t c = 0; c < 3; ++c) {
        const int shift = c == 0 ? warmth : c == 2 ? -warmth : 0;
        pixel[c] = static_cast<uint8_t>(std::clamp(colour[c] + (brightness + shift) / (1 << kLevelBits) + grain, 0, 255));
      }
    }
  }
  return scene;
}

}  // namespace tenfold::bench
