#include "evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <span>
#include <stdexcept>
#include <tuple>

#include "pr_curve.h"

namespace tenfold {
namespace {

constexpr int kCocoMaxDetections = 100;  // an image and class

double iou(const float* a, const float* b) {
  const double width = std::min<double>(a[2], b[2]) - std::max<double>(a[0], b[0]);
  const double height = std::min<double>(a[3], b[3]) - std::max<double>(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const double intersection = width * height;
  const double area_a = (double{a[2]} - a[0]) * (double{a[3]} - a[1]);
  const double area_b = (double{b[2]} - b[0]) * (double{b[3]} - b[1]);
  return intersection / (area_a + area_b - intersection);
}

at::Tensor rows_of(const at::Tensor& table, int64_t columns) {
  TORCH_CHECK(table.dim() == 2 && table.size(1) == columns, "expected rows of ", columns, " numbers");
  return table.to(at::kCPU, at::kFloat).contiguous();
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
  std::map<int64_t, int> seen;
  std::vector<Scored> kept;
  for (const auto& detection : of_one_class)
    if (seen[detection.image]++ < kCocoMaxDetections) kept.push_back(detection);
  return kept;
}

std::array<double, kIouThresholds> average_precisions(std::span<const Scored> of_one_class, int64_t labels,
                                                      ApRule rule) {
  const auto counted = rule == ApRule::coco ? best_of_each_image(of_one_class)
                                            : std::vector<Scored>(of_one_class.begin(), of_one_class.end());
  std::array<double, kIouThresholds> ap{};
  for (size_t t = 0; t < kIouThresholds; ++t) {
    std::vector<bool> hits;
    for (const auto& detection : counted) hits.push_back((detection.hits >> t & 1U) != 0);
    const auto curve = pr_curve(hits, labels);
    ap[t] = rule == ApRule::coco ? coco_average_precision(curve) : published_average_precision(curve);
  }
  return ap;
}

ConfidenceCurve confidence_curve_of(std::span<const Scored> of_one_class, int64_t labels) {
  std::vector<bool> hits;
  std::vector<float> scores;
  for (const auto& detection : of_one_class) {
    hits.push_back((detection.hits & 1U) != 0);
    scores.push_back(detection.score);
  }
  return confidence_curve(pr_curve(hits, labels), scores);
}

/// Fills in precision, recall and F1 at the confidence where the classes' mean F1 is best.
void choose_confidence(Metrics& metrics, const std::vector<ConfidenceCurve>& curves) {
  if (curves.empty()) return;
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
    metrics.map50 += cls.ap50() / count;
    metrics.map50_95 += cls.ap50_95() / count;
  }
}

/// First number of a packed row.
enum PackedRow : int { kImagesRow = 0, kLabelsRow = 1, kDetectionRow = 2 };
constexpr int64_t kPackedColumns = 5;

}  // namespace

std::array<double, kIouThresholds> iou_thresholds() {
  std::array<double, kIouThresholds> thresholds{};
  for (int t = 0; t < kIouThresholds; ++t) thresholds[static_cast<size_t>(t)] = (50 + 5 * t) / 100.0;
  return thresholds;
}

double ClassMetrics::ap50_95() const {
  double sum = 0;
  for (const double value : ap) sum += value;
  return sum / kIouThresholds;
}

std::vector<uint32_t> match_detections(const Detections& detections, const at::Tensor& ground_truth) {
  const auto found = rows_of(detections, 6), wanted = rows_of(ground_truth, 5);
  const auto* boxes = found.const_data_ptr<float>();
  const auto* truths = wanted.const_data_ptr<float>();
  const auto count = static_cast<size_t>(found.size(0)), truth_count = static_cast<size_t>(wanted.size(0));
  const auto thresholds = iou_thresholds();
  std::vector<uint32_t> hits(count, 0);
  std::vector<uint32_t> taken(truth_count, 0);  // by truth: thresholds at which it has been found
  std::vector<double> overlap(truth_count);
  for (size_t d = 0; d < count; ++d) {
    const float* box = boxes + d * 6;
    for (size_t g = 0; g < truth_count; ++g) overlap[g] = truths[g * 5] == box[5] ? iou(box, truths + g * 5 + 1) : 0.0;
    for (size_t t = 0; t < kIouThresholds; ++t) {
      const uint32_t bit = 1U << t;
      double best = thresholds[t];
      size_t match = truth_count;
      for (size_t g = 0; g < truth_count; ++g)
        if ((taken[g] & bit) == 0 && overlap[g] >= best) {
          best = overlap[g];
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
  const auto wanted = rows_of(ground_truth, 5);
  for (int64_t i = 0; i < wanted.size(0); ++i) ++labels_.at(static_cast<size_t>(wanted.const_data_ptr<float>()[i * 5]));
  ++images_;
  const auto found = rows_of(detections, 6);
  const auto order = std::get<1>(found.select(1, 4).sort(/*stable=*/true, 0, /*descending=*/true));
  const auto best_first = found.index_select(0, order).contiguous();
  const auto hits = match_detections(best_first, wanted);
  const auto* rows = best_first.const_data_ptr<float>();
  for (size_t i = 0; i < hits.size(); ++i)
    detections_.push_back({image_id, static_cast<int>(rows[i * 6 + 5]), rows[i * 6 + 4], hits[i]});
}

at::Tensor Evaluator::pack() const {
  std::vector<double> rows = {kImagesRow, static_cast<double>(images_), 0, 0, 0};
  for (size_t cls = 0; cls < labels_.size(); ++cls)
    rows.insert(rows.end(), {kLabelsRow, static_cast<double>(cls), static_cast<double>(labels_[cls]), 0, 0});
  for (const auto& d : detections_)
    rows.insert(rows.end(), {kDetectionRow, static_cast<double>(d.image), static_cast<double>(d.cls), d.score,
                             static_cast<double>(d.hits)});
  return at::tensor(rows, at::kDouble).view({-1, kPackedColumns});
}

void Evaluator::merge(const at::Tensor& packed) {
  TORCH_CHECK(packed.dim() == 2 && packed.size(1) == kPackedColumns, "expected packed evaluation rows");
  const auto on_cpu = packed.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < on_cpu.size(0); ++i) {
    const double* row = on_cpu.const_data_ptr<double>() + i * kPackedColumns;
    const auto kind = static_cast<int>(row[0]);
    if (kind == kImagesRow)
      images_ += static_cast<int64_t>(row[1]);
    else if (kind == kLabelsRow)
      labels_.at(static_cast<size_t>(row[1])) += static_cast<int64_t>(row[2]);
    else if (kind == kDetectionRow)
      detections_.push_back({static_cast<int64_t>(row[1]), static_cast<int>(row[2]), static_cast<float>(row[3]),
                             static_cast<uint32_t>(row[4])});
  }
}

Metrics Evaluator::compute(ApRule rule) const {
  Metrics metrics;
  metrics.images = images_;
  const auto detections = ranked(detections_);
  std::vector<ConfidenceCurve> curves;
  for (int cls = 0; cls < nc_; ++cls) {
    const int64_t labels = labels_[static_cast<size_t>(cls)];
    if (labels == 0) continue;
    const auto [begin, end] = std::equal_range(detections.begin(), detections.end(), Scored{0, cls, 0, 0},
                                               [](const Scored& a, const Scored& b) { return a.cls < b.cls; });
    const std::span<const Scored> of_class(begin, end);
    metrics.labels += labels;
    metrics.classes.push_back({cls, labels, 0, 0, 0, average_precisions(of_class, labels, rule)});
    curves.push_back(confidence_curve_of(of_class, labels));
  }
  choose_confidence(metrics, curves);
  average_classes(metrics);
  return metrics;
}

}  // namespace tenfold
