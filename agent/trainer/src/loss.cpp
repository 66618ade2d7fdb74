#include "loss.h"

#include <ATen/ATen.h>

#include "anchor_grid.h"
#include "assigner.h"
#include "box.h"

namespace tenfold {
namespace {

/// Labels (M, 6) of a batch as boxes in pixels.
Truth truth_of(const at::Tensor& targets, int height, int width, const at::TensorOptions& options) {
  const auto on_device = targets.to(options, /*non_blocking=*/true);
  const auto size = at::tensor({width, height, width, height}, at::kFloat).to(options, /*non_blocking=*/true);
  return {on_device.select(1, 0).to(at::kLong), on_device.select(1, 1).to(at::kLong),
          xywh_to_xyxy(on_device.narrow(1, 2, 4) * size)};
}

/// Distribution focal loss (Li et al., "Generalized Focal Loss", 2020): cross entropy with the two bins beside the true
/// distance, weighted by nearness. `logits` (N, 4 * bins), `distance` (N, 4) in cells; the mean over the sides, (N).
at::Tensor distribution_focal_loss(const at::Tensor& logits, const at::Tensor& distance, int bins) {
  const auto target = distance.clamp(0, bins - 1 - 0.01).unsqueeze(-1);  // (N, 4, 1), below the last bin
  const auto left = target.floor();
  const auto log_probability = logits.unflatten(-1, {4, bins}).log_softmax(-1);
  const auto left_bin = left.to(at::kLong);
  const auto nearness = left + 1 - target;  // to the left bin
  const auto loss =
      log_probability.gather(-1, left_bin) * nearness + log_probability.gather(-1, left_bin + 1) * (1 - nearness);
  return -loss.mean({1, 2});
}

/// Loss of v8's heads: task-aligned assignment, CIoU and DFL on the assigned anchors, BCE on all class scores.
class TaskAlignedLoss : public DetectionLoss {
 public:
  TaskAlignedLoss(HeadLayout layout, const LossGains& gains) : layout_(std::move(layout)), gains_(gains) {}

  LossResult operator()(const std::vector<at::Tensor>& raw, const at::Tensor& targets, int height, int width) override {
    const auto predictions = full_precision(by_anchor(raw));  // (B, A, sides + nc)
    const auto grid = make_anchor_grid(raw, layout_.strides, predictions.scalar_type());
    const auto truth = truth_of(targets, height, width, predictions.options().requires_grad(false));
    const auto assignment = assign(grid, predictions.detach(), truth);
    const auto terms = sum_terms(grid, predictions, truth, assignment);
    return normalise(terms, assignment.score.sum(), predictions.size(0));
  }

 private:
  int64_t sides() const { return 4 * layout_.reg_max; }

  static at::Tensor full_precision(const at::Tensor& tensor) {
    return tensor.scalar_type() == at::kDouble ? tensor : tensor.to(at::kFloat);
  }

  Assignment assign(const AnchorGrid& grid, const at::Tensor& predictions, const Truth& truth) const {
    const auto distances = expected_distance(predictions.narrow(-1, 0, sides()), layout_.reg_max);
    const auto boxes = boxes_around(grid.points, distances, grid.stride);
    return assign_task_aligned(grid, predictions.narrow(-1, sides(), layout_.nc), boxes, truth);
  }

  /// Sums over the batch of the box, cls and dfl terms, with their gains, before normalisation: (3).
  /// With nothing assigned the box terms are sums over no rows: 0, but still connected to the heads, because gradient
  /// exchange waits for every parameter.
  at::Tensor sum_terms(const AnchorGrid& grid, const at::Tensor& predictions, const Truth& truth,
                       const Assignment& assignment) const {
    const auto assigned = predictions.flatten(0, 1).index_select(0, assignment.anchor);  // (N, sides + nc)
    const auto anchor = assignment.anchor.remainder(grid.size());
    const auto stride = grid.stride.index_select(0, anchor);                         // (N, 1)
    const auto point = grid.points.index_select(0, anchor) / stride;                 // (N, 2) in cells
    const auto target_box = truth.boxes.index_select(0, assignment.truth) / stride;  // (N, 4) in cells
    const auto logits = assigned.narrow(1, 0, sides());

    const auto box = boxes_around(point, expected_distance(logits, layout_.reg_max), at::ones_like(stride));
    const auto box_loss = ((1 - box_ciou(box, target_box)) * assignment.score).sum();

    const auto distance = at::cat({point - target_box.narrow(1, 0, 2), target_box.narrow(1, 2, 2) - point}, 1);
    const auto dfl_loss = (distribution_focal_loss(logits, distance, layout_.reg_max) * assignment.score).sum();

    const auto cls = truth.cls.index_select(0, assignment.truth).unsqueeze(1);
    const auto assigned_score = assigned.narrow(1, sides(), layout_.nc).gather(1, cls).squeeze(1);  // (N) logits
    // BCE(x, y) = softplus(x) - x y, and y is 0 but for one class of the assigned anchors.
    const auto background = at::softplus(predictions.narrow(-1, sides(), layout_.nc)).sum();
    const auto cls_loss = background - (assigned_score * assignment.score).sum();

    return at::stack({box_loss * gains_.box, cls_loss * gains_.cls, dfl_loss * gains_.dfl});
  }

  /// Divides by the target scores of all ranks; the algebra is in the header.
  LossResult normalise(const at::Tensor& terms, const at::Tensor& score_sum, int64_t images) const {
    auto sums = at::stack({score_sum, at::full_like(score_sum, images), at::ones_like(score_sum)});
    if (sum_over_ranks_) sums = sum_over_ranks_(sums);
    const auto ranks = sums.select(0, 2);
    const auto items = terms * (ranks / sums.select(0, 0).clamp_min(1));
    return {items.sum() * sums.select(0, 1), items.detach()};
  }

  HeadLayout layout_;
  LossGains gains_;
};

}  // namespace

std::unique_ptr<DetectionLoss> make_detection_loss(const HeadLayout& layout, const LossGains& gains) {
  switch (layout.family) {
    case Family::v8:
      return std::make_unique<TaskAlignedLoss>(layout, gains);
  }
  throw std::logic_error("a family without a loss");
}

}  // namespace tenfold
