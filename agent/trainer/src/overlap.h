#pragma once

#include <algorithm>

namespace tenfold {

/// Corners of a box, in pixels.
struct Corners {
  float x1 = 0, y1 = 0, x2 = 0, y2 = 0;
};

/// Intersection over union, in double precision and in the order of operations of pycocotools: overlaps that lie exactly
/// on a threshold fall on the same side of it. Boxes without area overlap nothing.
inline double overlap(const Corners& a, const Corners& b) {
  const double width = std::min<double>(a.x2, b.x2) - std::max<double>(a.x1, b.x1);
  const double height = std::min<double>(a.y2, b.y2) - std::max<double>(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const double intersection = width * height;
  const double area_a = (double{a.x2} - a.x1) * (double{a.y2} - a.y1);
  const double area_b = (double{b.x2} - b.x1) * (double{b.y2} - b.y1);
  return intersection / (area_a + area_b - intersection);
}

}  // namespace tenfold
