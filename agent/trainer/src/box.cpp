#include "box.h"

#include <ATen/ATen.h>

#include <numbers>
#include <utility>
#include <vector>

namespace tenfold {
namespace {

constexpr double kEps = 1e-7;  // keeps degenerate boxes finite

// x and y of corners and sizes go through one operation together: half as many, and a GPU waits for their launches. They
// stand in front, since a loop over two numbers a box is a slow one.

struct Corners {
  at::Tensor near, far;  // (2, …)
};

Corners corners_of(const at::Tensor& boxes) {
  const std::vector<at::Tensor> parts = boxes.movedim(-1, 0).contiguous().split(2, 0);
  return {parts[0], parts[1]};
}

/// Of boxes whose shapes may be broadcast.
std::pair<Corners, Corners> corners_of(const at::Tensor& a, const at::Tensor& b) {
  const std::vector<at::Tensor> both = at::broadcast_tensors({a, b});
  return {corners_of(both[0]), corners_of(both[1])};
}

struct Sides {
  at::Tensor width, height;  // (…)
};

Sides sides_of(const at::Tensor& sizes) {
  const std::vector<at::Tensor> parts = sizes.unbind(0);
  return {parts[0], parts[1]};
}

at::Tensor area_of(const Sides& sides) { return sides.width * sides.height; }

/// Intersection over union, and the boxes' sides on the way.
struct Overlap {
  at::Tensor iou;
  Sides a, b;
};

Overlap overlap_of(const Corners& a, const Corners& b) {
  const auto common = (at::minimum(a.far, b.far) - at::maximum(a.near, b.near)).clamp_min(0);
  const auto intersection = area_of(sides_of(common));
  Overlap overlap{{}, sides_of(a.far - a.near), sides_of(b.far - b.near)};
  const auto both = area_of(overlap.a) + area_of(overlap.b);
  overlap.iou = intersection / (both - intersection + kEps);
  return overlap;
}

}  // namespace

at::Tensor box_iou(const at::Tensor& boxes_a, const at::Tensor& boxes_b) {
  const auto [a, b] = corners_of(boxes_a, boxes_b);
  return overlap_of(a, b).iou;
}

at::Tensor box_ciou(const at::Tensor& boxes_a, const at::Tensor& boxes_b) {
  const auto [a, b] = corners_of(boxes_a, boxes_b);
  const auto overlap = overlap_of(a, b);
  const auto diagonal = (at::maximum(a.far, b.far) - at::minimum(a.near, b.near)).square().sum(0) + kEps;
  // Twice the offset of the centres, hence a quarter of its square.
  const auto offset = (a.near + a.far - b.near - b.far).square().sum(0);
  const auto distance = offset / diagonal * 0.25;

  constexpr double kScale = 4 / (std::numbers::pi * std::numbers::pi);
  const auto angle_of = [](const Sides& sides) { return at::atan2(sides.width, sides.height + kEps); };
  const auto v = (angle_of(overlap.b) - angle_of(overlap.a)).square() * kScale;
  const auto alpha = (v / (v - overlap.iou + (1 + kEps))).detach();
  return overlap.iou - distance - alpha * v;
}

at::Tensor xywh_to_xyxy(const at::Tensor& boxes) {
  const auto centre = boxes.narrow(-1, 0, 2);
  const auto half = boxes.narrow(-1, 2, 2) * 0.5;
  return at::cat({centre - half, centre + half}, -1);
}

}  // namespace tenfold
