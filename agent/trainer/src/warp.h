#pragma once

#include <array>
#include <span>

#include "augment.h"
#include "image.h"

namespace tenfold {

/// A 3x3 projective transform of points (column vectors; row-major). Coordinates are continuous: the pixel in column x
/// covers [x, x+1).
struct Transform {
  std::array<double, 9> m{1, 0, 0, 0, 1, 0, 0, 0, 1};

  static Transform translation(double dx, double dy) { return {{1, 0, dx, 0, 1, dy, 0, 0, 1}}; }
  static Transform scaling(double sx, double sy) { return {{sx, 0, 0, 0, sy, 0, 0, 0, 1}}; }

  bool affine() const { return m[6] == 0 && m[7] == 0; }
  /// Throws std::domain_error when there is none.
  Transform inverse() const;
  struct Point {
    double x = 0, y = 0;
  };
  Point operator()(double x, double y) const;
};

/// `a * b` applies b first.
Transform operator*(const Transform& a, const Transform& b);

/// A picture laid on a canvas. `left`..`right` and `top`..`bottom` (exclusive) is the part of the canvas that it
/// covers; the canvas pixel (x, y) there shows the picture's pixel (x - offset_x, y - offset_y).
struct Tile {
  ImageView image;
  int left = 0, top = 0, right = 0, bottom = 0;
  int offset_x = 0, offset_y = 0;
};

/// Looks at a canvas of tiles through `to_canvas` (output -> canvas), bilinearly, in one pass without the canvas ever
/// being made. Where no tile lies the output is grey. Tiles must not overlap.
void render(std::span<const Tile> tiles, const Transform& to_canvas, PlanarOut out);

}  // namespace tenfold
