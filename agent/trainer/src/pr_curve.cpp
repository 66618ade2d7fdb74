#include "pr_curve.h"

#include <algorithm>
#include <numeric>

namespace tenfold {
namespace {

constexpr int kRecallSteps = 100;

/// Precision that does not rise with recall: the best at that recall or beyond.
std::vector<double> envelope(std::vector<double> precision) {
  for (size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
  return precision;
}

/// y at `at` on the line through (x0, y0) and (x1, y1), x0 < x1.
double interpolate(double at, double x0, double y0, double x1, double y1) {
  return y0 + (y1 - y0) * (at - x0) / (x1 - x0);
}

}  // namespace

PrCurve pr_curve(const std::vector<bool>& hits, int64_t labels) {
  PrCurve curve;
  double true_positives = 0;
  for (size_t i = 0; i < hits.size(); ++i) {
    true_positives += hits[i] ? 1 : 0;
    curve.precision.push_back(true_positives / static_cast<double>(i + 1));
    curve.recall.push_back(true_positives / static_cast<double>(labels));
  }
  return curve;
}

std::vector<double> coco_precisions(const PrCurve& curve) {
  const auto precision = envelope(curve.precision);
  std::vector<double> at_recall(kRecallSteps + 1, 0);
  for (int step = 0; step <= kRecallSteps; ++step) {
    const auto reached = std::lower_bound(curve.recall.begin(), curve.recall.end(), step * 0.01);
    if (reached == curve.recall.end()) break;
    at_recall[static_cast<size_t>(step)] = precision[static_cast<size_t>(reached - curve.recall.begin())];
  }
  return at_recall;
}

double coco_average_precision(const PrCurve& curve) {
  const auto precisions = coco_precisions(curve);
  return std::accumulate(precisions.begin(), precisions.end(), 0.0) / static_cast<double>(precisions.size());
}

double published_average_precision(const PrCurve& curve) {
  if (curve.recall.empty()) return 0;
  std::vector<double> recall = {0}, precision = {1};
  recall.insert(recall.end(), curve.recall.begin(), curve.recall.end());
  precision.insert(precision.end(), curve.precision.begin(), curve.precision.end());
  recall.push_back(1);
  precision.push_back(0);
  precision = envelope(precision);
  const auto precision_at = [&](double at) {
    // The last point at or before `at`: of several with the same recall the one with the most detections.
    const auto after = static_cast<size_t>(std::upper_bound(recall.begin(), recall.end(), at) - recall.begin());
    if (after == recall.size()) return precision.back();
    return interpolate(at, recall[after - 1], precision[after - 1], recall[after], precision[after]);
  };
  double area = 0;
  for (int step = 0; step < kRecallSteps; ++step)
    area += (precision_at(step * 0.01) + precision_at((step + 1) * 0.01)) / 2 * 0.01;
  return area;
}

double ConfidenceCurve::f1(size_t i) const {
  const double sum = precision[i] + recall[i];
  return sum > 0 ? 2 * precision[i] * recall[i] / sum : 0;
}

double confidence_at(size_t i) {
  return static_cast<double>(i) / (kConfidences - 1);
}

ConfidenceCurve confidence_curve(const PrCurve& curve, const std::vector<float>& scores) {
  ConfidenceCurve by_confidence{std::vector<double>(kConfidences, 0), std::vector<double>(kConfidences, 0)};
  if (scores.empty()) return by_confidence;
  for (size_t i = 0; i < kConfidences; ++i) {
    const double confidence = confidence_at(i);
    // The first detection that scores below this confidence.
    const auto below = static_cast<size_t>(
        std::partition_point(scores.begin(), scores.end(), [&](float score) { return score >= confidence; }) -
        scores.begin());
    if (below == 0) {
      by_confidence.precision[i] = 1;
      continue;
    }
    const auto read = [&](const std::vector<double>& values) {
      if (below == scores.size()) return values.back();
      return interpolate(confidence, scores[below - 1], values[below - 1], scores[below], values[below]);
    };
    by_confidence.precision[i] = read(curve.precision);
    by_confidence.recall[i] = read(curve.recall);
  }
  return by_confidence;
}

size_t best_mean_f1(const std::vector<ConfidenceCurve>& curves) {
  constexpr ptrdiff_t kHalfWindow = kConfidences / 20;
  constexpr auto kLast = static_cast<ptrdiff_t>(kConfidences) - 1;
  std::vector<double> sum(kConfidences, 0);
  for (const auto& curve : curves)
    for (size_t i = 0; i < kConfidences; ++i) sum[i] += curve.f1(i);
  std::vector<double> smooth(kConfidences, 0);
  for (ptrdiff_t i = 0; i <= kLast; ++i)
    for (ptrdiff_t j = i - kHalfWindow; j <= i + kHalfWindow; ++j)
      smooth[static_cast<size_t>(i)] += sum[static_cast<size_t>(std::clamp<ptrdiff_t>(j, 0, kLast))];
  return static_cast<size_t>(std::max_element(smooth.begin(), smooth.end()) - smooth.begin());
}

}  // namespace tenfold
