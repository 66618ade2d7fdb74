// From raw head maps to detections.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "head_layout.h"

namespace tenfold {

/// One image's detections, best first: (N, 6) float on the CPU: x1, y1, x2, y2 in pixels of the network's input,
/// score, class.
using Detections = at::Tensor;

struct DetectOptions {
  float conf = 0.25F;           ///< scores at or below are dropped (0.001 for evaluation)
  float iou = 0.7F;             ///< a box overlapping a better one by more is suppressed
  int max_det = 300;            ///< most detections an image
  bool multi_label = false;     ///< an anchor may be detected as several classes (evaluation)
  bool class_agnostic = false;  ///< suppress across classes
  int max_candidates = 30000;   ///< best boxes an image that suppression looks at
};

/// Boxes and class probabilities at every anchor, (B, 4 + nc, A): cx, cy, w, h in pixels, then scores in 0..1; anchors
/// in order of head map, v5's shape, row, column. `raw` as Detector::forward or forward_detecting returns it; v5's
/// scores are objectness times class, v10's those of the branches that find each box once.
at::Tensor decode(const std::vector<at::Tensor>& raw, const HeadLayout& layout);

/// Greedy non-maximum suppression of decoded predictions (B, 4 + nc, A); one entry an image.
std::vector<Detections> suppress(const at::Tensor& decoded, const DetectOptions& options);

/// The `most` best scores (or all, where there are fewer) of decoded predictions (B, 4 + nc, A) with their boxes, best
/// first: (B, K, 6) x1, y1, x2, y2, score, class.
at::Tensor best_detections(const at::Tensor& decoded, int64_t most);

/// The best `max_det` of all scores of decoded predictions (B, 4 + nc, A), where nothing overlaps; one entry an image.
std::vector<Detections> select_best(const at::Tensor& decoded, const DetectOptions& options);

/// decode, then what the family needs to make detections unique: v5 and v8 `suppress`; v10 has no doubles, and needs
/// no more than `select_best`.
std::vector<Detections> detect(const std::vector<at::Tensor>& raw, const HeadLayout& layout,
                               const DetectOptions& options);

}  // namespace tenfold
