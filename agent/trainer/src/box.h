// Overlap of boxes, as tensors.
#pragma once

#include <ATen/core/Tensor.h>

namespace tenfold {

/// Intersection over union of matching rows of `a` and `b` (…, 4) x1, y1, x2, y2; the result is (…).
at::Tensor box_iou(const at::Tensor& a, const at::Tensor& b);

/// Complete IoU (Zheng et al., "Distance-IoU Loss", AAAI 2020): IoU less the squared distance of the centres over the
/// squared diagonal of the enclosing box, less alpha · v for the difference of the aspect ratios; alpha carries no
/// gradient. Shapes as `box_iou`.
at::Tensor box_ciou(const at::Tensor& a, const at::Tensor& b);

/// (…, 4) cx, cy, w, h to x1, y1, x2, y2.
at::Tensor xywh_to_xyxy(const at::Tensor& boxes);

}  // namespace tenfold
