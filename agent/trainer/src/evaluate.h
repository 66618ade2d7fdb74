// Average precision over a validation set that may be spread over ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "postprocess.h"

namespace tenfold {

/// .50, .55, …, .95
inline constexpr int kIouThresholds = 10;
std::array<double, kIouThresholds> iou_thresholds();

/// How the area under a precision-recall curve is taken.
enum class ApRule {
  coco,      ///< as pycocotools: mean of the precision envelope at 101 recalls, best 100 detections an image and class
  published  ///< as the published YOLO trainers print it: trapezoids between 101 interpolated points; a little higher
};

struct ClassMetrics {
  int cls = 0;
  int64_t labels = 0;    ///< ground-truth boxes of this class
  double precision = 0;  ///< at IoU .50, at the confidence where mean F1 over the classes is best
  double recall = 0;
  double f1 = 0;
  std::array<double, kIouThresholds> ap{};  ///< by IoU threshold
  double ap50() const { return ap[0]; }
  double ap50_95() const;
};

struct Metrics {
  double precision = 0;  ///< means over the classes that have labels
  double recall = 0;
  double map50 = 0;
  double map50_95 = 0;
  double confidence = 0;  ///< the confidence that precision and recall are taken at
  int64_t images = 0;
  int64_t labels = 0;
  std::vector<ClassMetrics> classes;  ///< those with labels, by class
};

/// COCO's greedy matching: best detections choose first, each the free box of its class that it overlaps most.
/// `detections` (N, 6), best first; `ground_truth` (M, 5) float: class, x1, y1, x2, y2. By detection: bit t is set
/// where it is a true positive at threshold t.
std::vector<uint32_t> match_detections(const Detections& detections, const at::Tensor& ground_truth);

/// Collects detections beside ground truth, image by image, and computes the metrics at the end.
/// The result depends on the set of images alone, not on the order or the rank in which they were added.
class Evaluator {
 public:
  explicit Evaluator(int nc) : nc_(nc) {}

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
  std::vector<Scored> detections_;
  std::vector<int64_t> labels_ = std::vector<int64_t>(static_cast<size_t>(nc_), 0);  // by class
};

}  // namespace tenfold
