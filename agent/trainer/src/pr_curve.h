// Precision and recall of one class's ranked detections, and what is read off their curves. No tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tenfold {

/// After each detection, best first.
struct PrCurve {
  std::vector<double> precision;
  std::vector<double> recall;
};

/// `hits` by rank: was it a true positive; `labels` > 0: how many there were to find.
PrCurve pr_curve(const std::vector<bool>& hits, int64_t labels);

/// As COCOeval: at recalls 0, .01, …, 1 the best precision at that recall or beyond; 0 where it is not reached.
std::vector<double> coco_precisions(const PrCurve& curve);

/// As COCOeval: the mean of coco_precisions.
double coco_average_precision(const PrCurve& curve);

/// As the published YOLO trainers: the envelope of the curve between (0, 1) and (1, 0), interpolated linearly at
/// recalls 0, .01, …, 1 and integrated by trapezoids.
double published_average_precision(const PrCurve& curve);

/// Precision and recall as functions of the confidence threshold, at `kConfidences` even steps over 0..1.
inline constexpr size_t kConfidences = 1000;
struct ConfidenceCurve {
  std::vector<double> precision;
  std::vector<double> recall;
  double f1(size_t i) const;
};
double confidence_at(size_t i);

/// `scores` by rank, descending. Without detections both are 0 throughout; above the best score nothing is detected:
/// recall 0, precision 1.
ConfidenceCurve confidence_curve(const PrCurve& curve, const std::vector<float>& scores);

/// Where the mean F1 of the classes' curves, smoothed over a tenth of the range, is largest.
size_t best_mean_f1(const std::vector<ConfidenceCurve>& curves);

}  // namespace tenfold
