#include "confusion_matrix.h"

#include <algorithm>

namespace tenfold {
namespace {

struct Pair {
  double overlap;
  size_t detection, label;
};

/// Pairs that overlap enough, most first.
std::vector<Pair> candidate_pairs(std::span<const ObjectBox> detections, std::span<const ObjectBox> labels) {
  std::vector<Pair> pairs;
  for (size_t d = 0; d < detections.size(); ++d)
    for (size_t l = 0; l < labels.size(); ++l) {
      const double shared = overlap(detections[d].box, labels[l].box);
      if (shared > ConfusionMatrix::kOverlap) pairs.push_back({shared, d, l});
    }
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.overlap > b.overlap; });
  return pairs;
}

}  // namespace

ConfusionMatrix::ConfusionMatrix(int nc)
    : nc_(nc), counts_(static_cast<size_t>(nc + 1) * static_cast<size_t>(nc + 1), 0) {}

void ConfusionMatrix::add_image(std::span<const ObjectBox> detections, std::span<const ObjectBox> labels) {
  std::vector<bool> detection_paired(detections.size(), false), label_paired(labels.size(), false);
  for (const Pair& pair : candidate_pairs(detections, labels)) {
    if (detection_paired[pair.detection] || label_paired[pair.label]) continue;
    detection_paired[pair.detection] = label_paired[pair.label] = true;
    add(detections[pair.detection].cls, labels[pair.label].cls, 1);
  }
  for (size_t d = 0; d < detections.size(); ++d)
    if (!detection_paired[d]) add(detections[d].cls, background(), 1);
  for (size_t l = 0; l < labels.size(); ++l)
    if (!label_paired[l]) add(background(), labels[l].cls, 1);
}

int64_t ConfusionMatrix::total(int actual) const {
  int64_t sum = 0;
  for (int predicted = 0; predicted <= nc_; ++predicted) sum += count(predicted, actual);
  return sum;
}

}  // namespace tenfold
