#include "box.h"

#include <ATen/ATen.h>

#include <numbers>

namespace tenfold {
namespace {

constexpr double kEps = 1e-7;  // keeps degenerate boxes finite

struct Sides {
  at::Tensor x1, y1, x2, y2;  // (…)
};

Sides sides_of(const at::Tensor& boxes) {
  return {boxes.select(-1, 0), boxes.select(-1, 1), boxes.select(-1, 2), boxes.select(-1, 3)};
}

/// Intersection over union, and the widths and heights on the way.
struct Overlap {
  at::Tensor iou, width_a, height_a, width_b, height_b;
};

Overlap overlap_of(const Sides& a, const Sides& b) {
  const auto width = (at::minimum(a.x2, b.x2) - at::maximum(a.x1, b.x1)).clamp_min(0);
  const auto height = (at::minimum(a.y2, b.y2) - at::maximum(a.y1, b.y1)).clamp_min(0);
  const auto intersection = width * height;
  Overlap overlap{{}, a.x2 - a.x1, a.y2 - a.y1, b.x2 - b.x1, b.y2 - b.y1};
  const auto both = overlap.width_a * overlap.height_a + overlap.width_b * overlap.height_b;
  overlap.iou = intersection / (both - intersection + kEps);
  return overlap;
}

}  // namespace

at::Tensor box_iou(const at::Tensor& a, const at::Tensor& b) {
  return overlap_of(sides_of(a), sides_of(b)).iou;
}

at::Tensor box_ciou(const at::Tensor& boxes_a, const at::Tensor& boxes_b) {
  const auto a = sides_of(boxes_a);
  const auto b = sides_of(boxes_b);
  const auto [iou, width_a, height_a, width_b, height_b] = overlap_of(a, b);
  const auto hull_width = at::maximum(a.x2, b.x2) - at::minimum(a.x1, b.x1);
  const auto hull_height = at::maximum(a.y2, b.y2) - at::minimum(a.y1, b.y1);
  const auto diagonal = hull_width.square() + hull_height.square() + kEps;
  // Twice the offset of the centres, hence a quarter of its square.
  const auto offset = (a.x1 + a.x2 - b.x1 - b.x2).square() + (a.y1 + a.y2 - b.y1 - b.y2).square();
  const auto distance = offset / diagonal * 0.25;

  constexpr double kScale = 4 / (std::numbers::pi * std::numbers::pi);
  const auto angle = at::atan2(width_b, height_b + kEps) - at::atan2(width_a, height_a + kEps);
  const auto v = angle.square() * kScale;
  const auto alpha = (v / (v - iou + (1 + kEps))).detach();
  return iou - distance - alpha * v;
}

at::Tensor xywh_to_xyxy(const at::Tensor& boxes) {
  const auto centre = boxes.narrow(-1, 0, 2);
  const auto half = boxes.narrow(-1, 2, 2) * 0.5;
  return at::cat({centre - half, centre + half}, -1);
}

}  // namespace tenfold
