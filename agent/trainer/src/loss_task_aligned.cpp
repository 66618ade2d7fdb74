#include <ATen/ATen.h>

#include <optional>

#include "anchor_grid.h"
#include "box.h"
#include "full_precision.h"
#include "loss_families.h"

namespace tenfold {
namespace {

constexpr int64_t kBranchItems = 3;  // box, cls, dfl

/// What a batch's shape alone decides.
struct Geometry {
  AnchorGrid grid;
  int height, width;        // pixels
  at::Tensor picture_size;  // (4) width, height, width, height
};

/// Labels (M, 6) of a batch as boxes in pixels.
Truth truth_of(const at::Tensor& targets, const Geometry& geometry) {
  const auto on_device = targets.to(geometry.grid.points.options(), /*non_blocking=*/true);
  const auto numbers = on_device.narrow(1, 0, 2).t().to(at::kLong).unbind(0);
  return {numbers[0], numbers[1], xywh_to_xyxy(on_device.narrow(1, 2, 4) * geometry.picture_size)};
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

class TaskAlignedLoss : public DetectionLoss {
 public:
  TaskAlignedLoss(HeadLayout layout, const LossGains& gains, std::vector<AssignerOptions> branches)
      : layout_(std::move(layout)), gains_(gains), branches_(std::move(branches)) {}

  LossTerms terms(const std::vector<at::Tensor>& raw, const at::Tensor& targets, int height, int width) override {
    const size_t scales = layout_.strides.size();
    const auto options = raw.front().options().requires_grad(false);
    const auto dtype = raw.front().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const std::vector<at::Tensor> maps(raw.begin(), raw.begin() + static_cast<ptrdiff_t>(scales));
    const Geometry& geometry = geometry_of(maps, height, width, dtype);
    const AnchorGrid& grid = geometry.grid;
    const auto truth = truth_of(targets, geometry);
    const auto candidates = list_candidates(grid, truth, layout_.nc);
    std::vector<at::Tensor> sums, normalisers = {at::full({}, raw.front().size(0), options.dtype(dtype))};
    for (size_t branch = 0; branch < branches_.size(); ++branch) {
      const auto first = raw.begin() + static_cast<ptrdiff_t>(branch * scales);
      const auto predictions = full_precision(by_anchor({first, first + static_cast<ptrdiff_t>(scales)}));
      const auto assignment = assign(grid, candidates, predictions.detach(), truth, branches_[branch]);
      sums.push_back(sum_terms(grid, predictions, truth, assignment));
      normalisers.push_back(assignment.score.sum());
    }
    return {at::cat(sums), at::stack(normalisers)};
  }

 protected:
  at::Tensor items(const at::Tensor& sums, const at::Tensor& whole) const override {
    const auto scores = whole.narrow(0, 1, static_cast<int64_t>(branches_.size())).clamp_min(1);
    return (sums.view({-1, kBranchItems}) / scores.unsqueeze(1)).flatten();
  }

 private:
  int64_t sides() const { return 4 * layout_.reg_max; }

  /// Batches of one shape come one after the other: what it decides is computed when it changes.
  const Geometry& geometry_of(const std::vector<at::Tensor>& maps, int height, int width, at::ScalarType dtype) {
    const bool kept = geometry_ && geometry_->height == height && geometry_->width == width &&
                      geometry_->grid.fits(maps, dtype);
    if (kept) return *geometry_;
    geometry_ = Geometry{make_anchor_grid(maps, layout_.strides, dtype), height, width, {}};
    geometry_->picture_size = at::tensor({width, height, width, height}, at::kFloat).to(geometry_->grid.points.options());
    return *geometry_;
  }

  /// `predictions` (B, A, sides + nc).
  Assignment assign(const AnchorGrid& grid, const Candidates& candidates, const at::Tensor& predictions,
                    const Truth& truth, const AssignerOptions& options) const {
    const auto distances = expected_distance(predictions.narrow(-1, 0, sides()), layout_.reg_max);
    const auto boxes = boxes_around(grid.points, distances, grid.stride);
    return assign_task_aligned(candidates, predictions.narrow(-1, sides(), layout_.nc), boxes, truth, options);
  }

  /// Sums over the batch of a branch's box, cls and dfl terms, with their gains: (3).
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

  HeadLayout layout_;
  LossGains gains_;
  std::vector<AssignerOptions> branches_;
  std::optional<Geometry> geometry_;
};

}  // namespace

std::unique_ptr<DetectionLoss> make_task_aligned_loss(const HeadLayout& layout, const LossGains& gains,
                                                      const std::vector<AssignerOptions>& branches) {
  return std::make_unique<TaskAlignedLoss>(layout, gains, branches);
}

}  // namespace tenfold
