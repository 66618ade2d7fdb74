#include "warp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "data_fixtures.h"

namespace tenfold {
namespace {

struct Rendered {
  int size = 0;
  std::vector<uint8_t> planes;

  Rgb at(int x, int y) const {
    const size_t plane = static_cast<size_t>(size) * static_cast<size_t>(size);
    const size_t i = static_cast<size_t>(y) * static_cast<size_t>(size) + static_cast<size_t>(x);
    return {planes[i], planes[plane + i], planes[2 * plane + i]};
  }
};

Rendered render_to(int size, const std::vector<Tile>& tiles, const Transform& to_canvas) {
  Rendered out{size, std::vector<uint8_t>(3 * static_cast<size_t>(size) * static_cast<size_t>(size))};
  render(tiles, to_canvas, {out.planes.data(), size, size});
  return out;
}

/// Red and green change with x and y, so that a sampled colour tells where it was taken.
Image gradient(int width, int height) {
  Image image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      uint8_t* p = image.row(y) + 3 * x;
      p[0] = static_cast<uint8_t>(4 * x), p[1] = static_cast<uint8_t>(4 * y), p[2] = 9;
    }
  return image;
}

Transform rotation(double degrees) {
  const double a = degrees * std::numbers::pi / 180;
  return {{std::cos(a), std::sin(a), 0, -std::sin(a), std::cos(a), 0, 0, 0, 1}};
}

bool same(Rgb a, Rgb b, int tolerance = 0) {
  return std::abs(a.r - b.r) <= tolerance && std::abs(a.g - b.g) <= tolerance && std::abs(a.b - b.b) <= tolerance;
}

TEST(Warp, TheIdentityCopiesEveryPixel) {
  const Image image = gradient(48, 48);
  const auto out = render_to(48, {{image.view(), 0, 0, 48, 48, 0, 0}}, {});
  for (int y = 0; y < 48; ++y)
    for (int x = 0; x < 48; ++x) ASSERT_TRUE(same(out.at(x, y), {uint8_t(4 * x), uint8_t(4 * y), 9})) << x << "," << y;
}

TEST(Warp, OutsideOfTheTilesItIsGrey) {
  const Image image = gradient(10, 10);
  const auto out = render_to(30, {{image.view(), 10, 12, 20, 22, 10, 12}}, {});
  int grey = 0;
  for (int y = 0; y < 30; ++y)
    for (int x = 0; x < 30; ++x) grey += same(out.at(x, y), kGrey);
  EXPECT_EQ(grey, 900 - 100);
  EXPECT_TRUE(same(out.at(10, 12), {0, 0, 9}));
  EXPECT_TRUE(same(out.at(19, 21), {36, 36, 9}));
}

TEST(Warp, AMirrorReversesTheColumns) {
  const Image image = gradient(20, 20);
  const auto out = render_to(20, {{image.view(), 0, 0, 20, 20, 0, 0}}, Transform{{-1, 0, 20, 0, 1, 0, 0, 0, 1}});
  for (int x = 0; x < 20; ++x) EXPECT_TRUE(same(out.at(x, 5), {uint8_t(4 * (19 - x)), 20, 9})) << x;
}

TEST(Warp, ScalingSamplesBetweenPixelCentres) {
  const Image image = gradient(40, 40);
  const auto out = render_to(20, {{image.view(), 0, 0, 40, 40, 0, 0}}, Transform::scaling(2, 2));
  // Output pixel x has its centre at 2x + 1 on the canvas, halfway between the centres of pixels 2x and 2x + 1.
  for (int x = 0; x < 20; ++x) EXPECT_TRUE(same(out.at(x, 10), {uint8_t(8 * x + 2), 82, 9})) << x;
}

TEST(Warp, TilesMeetWithoutGapOrOverlapUnderAnyAngle) {
  const Image red(64, 64, {255, 0, 0}), green(64, 64, {0, 255, 0}), blue(64, 64, {0, 0, 255}),
      white(64, 64, {255, 255, 255});
  const std::vector<Tile> tiles{{red.view(), 0, 0, 37, 41, -27, -23},
                                {green.view(), 37, 0, 101, 41, 37, -23},
                                {blue.view(), 0, 41, 37, 105, -27, 41},
                                {white.view(), 37, 41, 101, 105, 37, 41}};
  for (double degrees = -180; degrees <= 180; degrees += 7.5) {
    // The square lies well inside of the canvas' 101 x 105 pixels.
    const Transform to_canvas = Transform::translation(50, 50) * rotation(degrees) * Transform::translation(-16, -16);
    const auto out = render_to(32, tiles, to_canvas);
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x) {
        const auto [cx, cy] = to_canvas(x + 0.5, y + 0.5);
        if (std::abs(cx - 37) < 0.01 || std::abs(cy - 41) < 0.01) continue;
        const Rgb expected =
            cy < 41 ? (cx < 37 ? Rgb{255, 0, 0} : Rgb{0, 255, 0}) : (cx < 37 ? Rgb{0, 0, 255} : Rgb{255, 255, 255});
        ASSERT_TRUE(same(out.at(x, y), expected)) << degrees << " at " << x << "," << y;
      }
  }
}

TEST(Warp, TheFastUprightPathAgreesWithTheSlantedOne) {
  const Image image = gradient(50, 60);
  const std::vector<Tile> tiles{{image.view(), 0, 0, 50, 60, 0, 0}};
  Transform upright{{0.73, 0, 3.2, 0, 1.31, -2.7, 0, 0, 1}};
  Transform slanted = upright;
  slanted.m[1] = slanted.m[3] = 1e-4;  // shifts by far less than a pixel, but takes the general path
  const auto a = render_to(48, tiles, upright), b = render_to(48, tiles, slanted);
  for (int y = 3; y < 45; ++y)  // edges may fall on either side
    for (int x = 0; x < 48; ++x) {
      if (same(a.at(x, y), kGrey) || same(b.at(x, y), kGrey)) continue;
      ASSERT_TRUE(same(a.at(x, y), b.at(x, y), 1)) << x << "," << y;
    }
}

TEST(Warp, PerspectiveAgreesWithAffineWhereItIsNone) {
  const Image image = gradient(50, 60);
  const std::vector<Tile> tiles{{image.view(), 0, 0, 50, 60, 0, 0}};
  const Transform affine = Transform::translation(20, 20) * rotation(20) * Transform::translation(-16, -16);
  Transform perspective = affine;
  perspective.m[6] = 1e-9;
  const auto a = render_to(32, tiles, affine), b = render_to(32, tiles, perspective);
  int different = 0;
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x) different += !same(a.at(x, y), b.at(x, y), 1);
  EXPECT_LE(different, 2);  // pixels exactly on an edge
}

TEST(Transform, AnInverseUndoes) {
  const Transform t{{1.2, 0.3, 5, -0.2, 0.9, -7, 0.001, -0.002, 1}};
  const auto [x, y] = (t.inverse() * t)(12, 34);
  EXPECT_NEAR(x, 12, 1e-9);
  EXPECT_NEAR(y, 34, 1e-9);
  EXPECT_THROW(Transform::scaling(0, 1).inverse(), std::domain_error);
}

}  // namespace
}  // namespace tenfold
