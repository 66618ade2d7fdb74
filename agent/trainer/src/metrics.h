// What an evaluation finds out. No tensors.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "confusion_matrix.h"
#include "pr_curve.h"

namespace tenfold {

/// .50, .55, …, .95, to the bit as COCOeval has them
inline constexpr int kIouThresholds = 10;
std::array<double, kIouThresholds> iou_thresholds();

/// How the area under a precision-recall curve is taken.
enum class ApRule {
  coco,      ///< as pycocotools: mean of the precision envelope at 101 recalls, best 100 detections an image and class
  published  ///< as the published YOLO trainers print it: trapezoids between 101 interpolated points; a little higher
};

struct ClassMetrics {
  int cls = 0;
  int64_t images = 0;    ///< images with a label of this class
  int64_t labels = 0;    ///< ground-truth boxes of this class
  double precision = 0;  ///< at IoU .50, at the confidence where mean F1 over the classes is best
  double recall = 0;
  double f1 = 0;
  std::array<double, kIouThresholds> ap{};  ///< by IoU threshold
  double ap50() const { return ap[0]; }
  double ap50_95() const;
};

/// One class's curves at IoU .50.
struct ClassCurves {
  ConfidenceCurve by_confidence;
  std::vector<double> precision_at_recall;  ///< COCOeval's envelope at recalls 0, .01, …, 1; its mean is the AP
};

struct Metrics {
  double precision = 0;  ///< means over the classes that have labels
  double recall = 0;
  double f1 = 0;
  double map50 = 0;
  double map75 = 0;
  double map50_95 = 0;
  double confidence = 0;  ///< the confidence that precision, recall and F1 are taken at
  int64_t images = 0;
  int64_t background_images = 0;  ///< images without a label
  int64_t labels = 0;
  std::vector<ClassMetrics> classes;  ///< those with labels, by class
  std::vector<ClassCurves> curves;    ///< beside `classes`
  ConfusionMatrix confusion{0};
};

}  // namespace tenfold
