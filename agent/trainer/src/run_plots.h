// The plots of a run folder, as pictures.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dataset.h"
#include "image.h"
#include "metrics.h"
#include "progress.h"

namespace tenfold {

/// results.png: losses, metrics and learning rates by epoch.
Image results_plot(const std::vector<EpochRow>& history);

/// Which of the curves: precision over recall (BoxPR_curve.png), or F1, precision or recall over confidence.
enum class Curve { precision_recall, f1, precision, recall };
/// A line a class and a thick one for their mean; `names` by class index.
Image curve_plot(const Metrics& metrics, Curve curve, const std::vector<std::string>& names);

/// What its legend says of all classes together: the figure that people look the curve up for. F1 is that of the
/// metrics, at the confidence that they are taken at.
std::string curve_summary(const Metrics& metrics, Curve curve);

/// Counts, or with `normalised` the share that each has of its actual class.
Image confusion_plot(const ConfusionMatrix& confusion, const std::vector<std::string>& names, bool normalised);

/// What the labels of a data set are like: how many of each class, where their centres lie, how wide and high they are.
class LabelStatistics {
 public:
  explicit LabelStatistics(const std::vector<std::string>& names);
  void add(std::span<const Label> labels_of_an_image);
  /// labels.jpg
  Image plot() const;

 private:
  std::vector<std::string> names_;
  std::vector<int64_t> counts_;  // by class
  std::vector<Label> boxes_;
};

}  // namespace tenfold
