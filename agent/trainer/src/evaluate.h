// Average precision, curves and confusion over a validation set that may be spread over ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "metrics.h"
#include "postprocess.h"

namespace tenfold {

/// COCO's greedy matching: best detections choose first, each the free box of its class that it overlaps most.
/// `detections` (N, 6), best first; `ground_truth` (M, 5) float: class, x1, y1, x2, y2. By detection: bit t is set
/// where it is a true positive at threshold t.
std::vector<uint32_t> match_detections(const Detections& detections, const at::Tensor& ground_truth);

/// Collects detections beside ground truth, image by image, and computes the metrics at the end.
/// The result depends on the set of images alone, not on the order or the rank in which they were added.
class Evaluator {
 public:
  explicit Evaluator(int nc)
      : nc_(nc), labels_(static_cast<size_t>(nc)), labelled_images_(static_cast<size_t>(nc)), confusion_(nc) {}

  /// `ground_truth` (M, 5) float: class, x1, y1, x2, y2 in the same pixels as the detections. No image twice.
  void add_image(int64_t image_id, const Detections& detections, const at::Tensor& ground_truth);

  /// Everything collected so far as rows of numbers, (K, 5) float64, for exchange between ranks.
  at::Tensor pack() const;

  /// Adds what another rank packed. Rows whose first number is negative are padding and skipped, so that ranks
  /// may pad to a common K before they gather.
  void merge(const at::Tensor& packed);

  Metrics compute(ApRule rule = ApRule::coco) const;

  /// A detection and what it hit.
  struct Scored {
    int64_t image;
    int cls;
    float score;
    uint32_t hits;  ///< bit t: true positive at threshold t
  };

 private:
  int nc_;
  int64_t images_ = 0;
  int64_t background_images_ = 0;
  std::vector<Scored> detections_;
  std::vector<int64_t> labels_;           // by class
  std::vector<int64_t> labelled_images_;  // by class
  ConfusionMatrix confusion_;
};

}  // namespace tenfold
