#include "evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <span>
#include <stdexcept>
#include <tuple>
#include <unordered_map>

namespace tenfold {
namespace {

constexpr int kCocoMaxDetections = 100;  // an image and class

at::Tensor rows_of(const at::Tensor& table, int64_t columns) {
  TORCH_CHECK(table.dim() == 2 && table.size(1) == columns, "expected rows of ", columns, " numbers");
  return table.to(at::kCPU, at::kFloat).contiguous();
}

/// (N, 6) detections without their scores.
std::vector<ObjectBox> detected_objects(const Detections& detections) {
  const auto rows = rows_of(detections, 6);
  const auto row = rows.accessor<float, 2>();
  std::vector<ObjectBox> objects;
  for (int64_t i = 0; i < rows.size(0); ++i)
    objects.push_back({static_cast<int>(row[i][5]), {row[i][0], row[i][1], row[i][2], row[i][3]}});
  return objects;
}

std::vector<ObjectBox> labelled_objects(const at::Tensor& ground_truth) {
  const auto rows = rows_of(ground_truth, 5);
  const auto row = rows.accessor<float, 2>();
  std::vector<ObjectBox> objects;
  for (int64_t i = 0; i < rows.size(0); ++i)
    objects.push_back({static_cast<int>(row[i][0]), {row[i][1], row[i][2], row[i][3], row[i][4]}});
  return objects;
}

using Scored = Evaluator::Scored;

/// By class, best first; equal scores in order of the image, so that the ranks' order of arrival does not matter.
std::vector<Scored> ranked(std::vector<Scored> detections) {
  std::stable_sort(detections.begin(), detections.end(), [](const Scored& a, const Scored& b) {
    return std::make_tuple(a.cls, -a.score, a.image) < std::make_tuple(b.cls, -b.score, b.image);
  });
  return detections;
}

std::vector<Scored> best_of_each_image(std::span<const Scored> of_one_class) {
  std::unordered_map<int64_t, int> seen;
  std::vector<Scored> kept;
  for (const auto& detection : of_one_class)
    if (seen[detection.image]++ < kCocoMaxDetections) kept.push_back(detection);
  return kept;
}

/// Precision and recall of ranked detections of one class at the IoU threshold of number `t`.
PrCurve curve_at(std::span<const Scored> ranked, size_t t, int64_t labels) {
  std::vector<bool> hits;
  for (const auto& detection : ranked) hits.push_back((detection.hits >> t & 1U) != 0);
  return pr_curve(hits, labels);
}

std::array<double, kIouThresholds> average_precisions(std::span<const Scored> counted, int64_t labels, ApRule rule) {
  std::array<double, kIouThresholds> ap{};
  for (size_t t = 0; t < kIouThresholds; ++t) {
    const PrCurve curve = curve_at(counted, t, labels);
    ap[t] = rule == ApRule::coco ? coco_average_precision(curve) : published_average_precision(curve);
  }
  return ap;
}

ConfidenceCurve confidence_curve_of(std::span<const Scored> of_one_class, int64_t labels) {
  std::vector<float> scores;
  for (const auto& detection : of_one_class) scores.push_back(detection.score);
  return confidence_curve(curve_at(of_one_class, 0, labels), scores);
}

/// Fills in precision, recall and F1 at the confidence where the classes' mean F1 is best.
void choose_confidence(Metrics& metrics) {
  if (metrics.curves.empty()) return;
  std::vector<ConfidenceCurve> curves;
  for (const ClassCurves& of_class : metrics.curves) curves.push_back(of_class.by_confidence);
  const size_t best = best_mean_f1(curves);
  metrics.confidence = confidence_at(best);
  for (size_t i = 0; i < curves.size(); ++i) {
    metrics.classes[i].precision = curves[i].precision[best];
    metrics.classes[i].recall = curves[i].recall[best];
    metrics.classes[i].f1 = curves[i].f1(best);
  }
}

void average_classes(Metrics& metrics) {
  if (metrics.classes.empty()) return;
  const auto count = static_cast<double>(metrics.classes.size());
  for (const auto& cls : metrics.classes) {
    metrics.precision += cls.precision / count;
    metrics.recall += cls.recall / count;
    metrics.f1 += cls.f1 / count;
    metrics.map50 += cls.ap50() / count;
    metrics.map75 += cls.ap[5] / count;
    metrics.map50_95 += cls.ap50_95() / count;
  }
}

/// First number of a packed row.
enum PackedRow : int { kImagesRow = 0, kLabelsRow = 1, kDetectionRow = 2, kConfusionRow = 3 };
constexpr int64_t kPackedColumns = 5;

}  // namespace

std::array<double, kIouThresholds> iou_thresholds() {
  std::array<double, kIouThresholds> thresholds{};
  // numpy.linspace(.5, .95, 10), of which the ninth is not the double nearest to .9.
  for (int t = 0; t < kIouThresholds; ++t) thresholds[static_cast<size_t>(t)] = 0.5 + t * ((0.95 - 0.5) / 9);
  return thresholds;
}

double ClassMetrics::ap50_95() const {
  double sum = 0;
  for (const double value : ap) sum += value;
  return sum / kIouThresholds;
}

std::vector<uint32_t> match_detections(const Detections& detections, const at::Tensor& ground_truth) {
  const std::vector<ObjectBox> detected = detected_objects(detections), labelled = labelled_objects(ground_truth);
  const size_t count = detected.size(), truth_count = labelled.size();
  const auto thresholds = iou_thresholds();
  std::vector<uint32_t> hits(count, 0);
  std::vector<uint32_t> taken(truth_count, 0);  // by truth: thresholds at which it has been found
  std::vector<double> shared(truth_count);
  for (size_t d = 0; d < count; ++d) {
    for (size_t g = 0; g < truth_count; ++g)
      shared[g] = labelled[g].cls == detected[d].cls ? overlap(detected[d].box, labelled[g].box) : 0.0;
    for (size_t t = 0; t < kIouThresholds; ++t) {
      const uint32_t bit = 1U << t;
      double best = thresholds[t];
      size_t match = truth_count;
      for (size_t g = 0; g < truth_count; ++g)
        if ((taken[g] & bit) == 0 && shared[g] >= best) {
          best = shared[g];
          match = g;
        }
      if (match == truth_count) continue;
      taken[match] |= bit;
      hits[d] |= bit;
    }
  }
  return hits;
}

void Evaluator::add_image(int64_t image_id, const Detections& detections, const at::Tensor& ground_truth) {
  const std::vector<ObjectBox> labelled = labelled_objects(ground_truth);
  std::set<int> classes;
  for (const ObjectBox& object : labelled) {
    ++labels_.at(static_cast<size_t>(object.cls));
    classes.insert(object.cls);
  }
  for (const int cls : classes) ++labelled_images_[static_cast<size_t>(cls)];
  ++images_;
  if (labelled.empty()) ++background_images_;
  const auto found = rows_of(detections, 6);
  const auto order = std::get<1>(found.select(1, 4).sort(/*stable=*/true, 0, /*descending=*/true));
  const auto best_first = found.index_select(0, order).contiguous();
  const auto hits = match_detections(best_first, ground_truth);
  const std::vector<ObjectBox> detected = detected_objects(best_first);
  const auto row = best_first.accessor<float, 2>();
  size_t confident = 0;
  for (size_t i = 0; i < hits.size(); ++i) {
    const float score = row[static_cast<int64_t>(i)][4];
    detections_.push_back({image_id, detected[i].cls, score, hits[i]});
    if (score >= ConfusionMatrix::kConfidence) confident = i + 1;
  }
  confusion_.add_image(std::span(detected).first(confident), labelled);
}

at::Tensor Evaluator::pack() const {
  const auto number = [](auto value) { return static_cast<double>(value); };
  std::vector<double> rows = {kImagesRow, number(images_), number(background_images_), 0, 0};
  for (size_t cls = 0; cls < labels_.size(); ++cls)
    rows.insert(rows.end(), {kLabelsRow, number(cls), number(labels_[cls]), number(labelled_images_[cls]), 0});
  for (int predicted = 0; predicted <= nc_; ++predicted)
    for (int actual = 0; actual <= nc_; ++actual)
      if (const int64_t count = confusion_.count(predicted, actual); count > 0)
        rows.insert(rows.end(), {kConfusionRow, number(predicted), number(actual), number(count), 0});
  for (const auto& d : detections_)
    rows.insert(rows.end(), {kDetectionRow, number(d.image), number(d.cls), d.score, number(d.hits)});
  return at::tensor(rows, at::kDouble).view({-1, kPackedColumns});
}

void Evaluator::merge(const at::Tensor& packed) {
  TORCH_CHECK(packed.dim() == 2 && packed.size(1) == kPackedColumns, "expected packed evaluation rows");
  const auto on_cpu = packed.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < on_cpu.size(0); ++i) {
    const double* row = on_cpu.const_data_ptr<double>() + i * kPackedColumns;
    const auto whole = [row](int column) { return static_cast<int64_t>(row[column]); };
    switch (static_cast<int>(row[0])) {
      case kImagesRow:
        images_ += whole(1);
        background_images_ += whole(2);
        break;
      case kLabelsRow:
        labels_.at(static_cast<size_t>(row[1])) += whole(2);
        labelled_images_.at(static_cast<size_t>(row[1])) += whole(3);
        break;
      case kDetectionRow:
        detections_.push_back({whole(1), static_cast<int>(row[2]), static_cast<float>(row[3]), static_cast<uint32_t>(row[4])});
        break;
      case kConfusionRow:
        confusion_.add(static_cast<int>(row[1]), static_cast<int>(row[2]), whole(3));
        break;
      default:  // padding
        break;
    }
  }
}

Metrics Evaluator::compute(ApRule rule) const {
  Metrics metrics;
  metrics.images = images_;
  metrics.background_images = background_images_;
  metrics.confusion = confusion_;
  const auto detections = ranked(detections_);
  for (int cls = 0; cls < nc_; ++cls) {
    const int64_t labels = labels_[static_cast<size_t>(cls)];
    if (labels == 0) continue;
    const auto [begin, end] = std::equal_range(detections.begin(), detections.end(), Scored{0, cls, 0, 0},
                                               [](const Scored& a, const Scored& b) { return a.cls < b.cls; });
    const std::span<const Scored> all(begin, end);
    const std::vector<Scored> best = best_of_each_image(all);
    const std::span<const Scored> counted = rule == ApRule::coco ? std::span<const Scored>(best) : all;
    metrics.labels += labels;
    metrics.classes.push_back({.cls = cls,
                               .images = labelled_images_[static_cast<size_t>(cls)],
                               .labels = labels,
                               .ap = average_precisions(counted, labels, rule)});
    metrics.curves.push_back({confidence_curve_of(all, labels), coco_precisions(curve_at(best, 0, labels))});
  }
  choose_confidence(metrics);
  average_classes(metrics);
  return metrics;
}

}  // namespace tenfold
