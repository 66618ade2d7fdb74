// What the labelled objects of each class were taken for. No tensors.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "overlap.h"

namespace tenfold {

/// A labelled or a detected object.
struct ObjectBox {
  int cls = 0;
  Corners box;
};

/// Counts by predicted and actual class, at one confidence and one overlap. The class after the last is the background:
/// what is nothing but was detected, and what was there but not detected.
class ConfusionMatrix {
 public:
  static constexpr float kConfidence = 0.25F;  ///< detections that score less do not count
  static constexpr double kOverlap = 0.45;     ///< a detection and a label that overlap by more are of one object

  explicit ConfusionMatrix(int nc);

  int classes() const { return nc_; }
  int background() const { return nc_; }
  int64_t count(int predicted, int actual) const { return counts_[index(predicted, actual)]; }
  void add(int predicted, int actual, int64_t count) { counts_.at(index(predicted, actual)) += count; }

  /// One image's detections, those below kConfidence left out already, and its labels. Boxes are paired whatever their
  /// classes, the pair that overlaps most first, each box once; of equal overlaps the earlier detection's counts.
  void add_image(std::span<const ObjectBox> detections, std::span<const ObjectBox> labels);

  /// Everything that is labelled `actual`, or all false detections for the background.
  int64_t total(int actual) const;

 private:
  size_t index(int predicted, int actual) const {
    return static_cast<size_t>(predicted) * static_cast<size_t>(nc_ + 1) + static_cast<size_t>(actual);
  }

  int nc_;
  std::vector<int64_t> counts_;  // (nc + 1, nc + 1): predicted, actual
};

}  // namespace tenfold
