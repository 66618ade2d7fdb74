// The dense formulation of this assignment compares every anchor with every box of its image. Here only the pairs that
// can match are listed: on a regular grid the anchors inside a box form one rectangle a level, so the list is made by
// arithmetic, and everything after it works on P pairs, each the number of a box and of an anchor of the batch.
#include "assigner.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "box.h"

namespace tenfold {
namespace {

constexpr double kAlignmentEps = 1e-9;

/// Candidate pairs, in order of the box.
struct Pairs {
  at::Tensor truth;   // (P) int64: row of Truth
  at::Tensor anchor;  // (P) int64: image * A + anchor
  at::Tensor inside;  // (P) bool: the anchor's centre lies in the box
};

/// First cell whose centre may lie at or after `edge`, and one past the last that may lie before `end`, in a row of
/// `count` cells: generous by a cell, for `inside` decides.
at::Tensor first_cell(const at::Tensor& edge, int stride, int64_t count) {
  return (edge / stride - 0.5).floor().clamp(0, count).to(at::kLong);
}
at::Tensor end_cell(const at::Tensor& edge, int stride, int64_t count) {
  return ((edge / stride - 0.5).ceil() + 1).clamp(0, count).to(at::kLong);
}

Pairs list_pairs(const AnchorGrid& grid, const Truth& truth) {
  const int64_t boxes = truth.boxes.size(0);
  std::vector<at::Tensor> columns, rows, x0, y0, width, first;  // each (T), by level
  const auto x1 = truth.boxes.select(1, 0), y1 = truth.boxes.select(1, 1);
  const auto x2 = truth.boxes.select(1, 2), y2 = truth.boxes.select(1, 3);
  for (const auto& level : grid.levels) {
    x0.push_back(first_cell(x1, level.stride, level.width));
    y0.push_back(first_cell(y1, level.stride, level.height));
    columns.push_back((end_cell(x2, level.stride, level.width) - x0.back()).clamp_min(0));
    rows.push_back((end_cell(y2, level.stride, level.height) - y0.back()).clamp_min(0));
    width.push_back(at::full_like(x0.back(), level.width));
    first.push_back(at::full_like(x0.back(), level.first));
  }
  // One rectangle a box and level: (T * L), a box's levels side by side.
  const auto rectangles = [](const std::vector<at::Tensor>& by_level) { return at::stack(by_level, 1).flatten(); };
  const auto column_count = rectangles(columns);
  const auto sizes = column_count * rectangles(rows);
  const auto rectangle = at::repeat_interleave(sizes);  // (P): which rectangle
  const auto start = sizes.cumsum(0) - sizes;
  const auto cell = at::arange(rectangle.size(0), sizes.options()) - start.index_select(0, rectangle);
  const auto across = column_count.index_select(0, rectangle);
  const auto down = cell.div(across, "floor");
  const auto row_width = rectangles(width);
  const auto origin = rectangles(first) + rectangles(y0) * row_width + rectangles(x0);
  const auto anchor =
      origin.index_select(0, rectangle) + down * row_width.index_select(0, rectangle) + (cell - down * across);

  const auto owner = at::arange(boxes, sizes.options())
                         .view({-1, 1})
                         .expand({boxes, static_cast<int64_t>(grid.levels.size())})
                         .flatten()
                         .index_select(0, rectangle);
  const auto centre = grid.points.index_select(0, anchor);
  const auto box = truth.boxes.index_select(0, owner);
  const auto margin = at::cat({centre - box.narrow(1, 0, 2), box.narrow(1, 2, 2) - centre}, 1);
  return {owner, truth.image.index_select(0, owner) * grid.size() + anchor, margin.amin(1) > kAlignmentEps};
}

/// How well each pair fits.
struct Fit {
  at::Tensor overlap;    // (P) CIoU of predicted and true box, not below 0; 0 outside
  at::Tensor alignment;  // (P) score^alpha * overlap^beta
};

Fit rate_pairs(const Pairs& pairs, const at::Tensor& logits, const at::Tensor& boxes, const Truth& truth,
               const AssignerOptions& options) {
  const int64_t classes = logits.size(-1);
  const auto predicted = boxes.reshape({-1, 4}).index_select(0, pairs.anchor);
  const auto overlap =
      box_ciou(truth.boxes.index_select(0, pairs.truth), predicted).clamp_min(0) * pairs.inside.to(boxes.scalar_type());
  const auto wanted = pairs.anchor * classes + truth.cls.index_select(0, pairs.truth);
  const auto score = logits.reshape({-1}).index_select(0, wanted).sigmoid();
  return {overlap, score.pow(options.alpha) * overlap.pow(options.beta)};
}

/// Which pairs are among the `topk` best aligned of their box: (P) bool. Pairs of alignment 0 never are.
at::Tensor claim_best(const Pairs& pairs, const at::Tensor& alignment, int64_t boxes, int topk) {
  // One sort for all boxes: a key with the box above and the alignment below, descending. The bits of a float that is
  // not negative are ordered as the float is.
  const auto bits = alignment.to(at::kFloat).contiguous().view(at::kInt).to(at::kLong);
  const auto key = pairs.truth * (int64_t{1} << 32) - bits;
  const auto order = std::get<1>(at::sort(key, /*stable=*/true, /*dim=*/0, /*descending=*/false));
  const auto sorted_truth = pairs.truth.index_select(0, order);
  const auto size = at::zeros({boxes}, key.options()).scatter_add_(0, pairs.truth, at::ones_like(pairs.truth));
  const auto start = size.cumsum(0) - size;
  const auto place = at::arange(order.size(0), key.options()) - start.index_select(0, sorted_truth);
  const auto among_best = at::empty_like(pairs.inside).scatter_(0, order, place < topk);
  return among_best & (alignment > 0);
}

/// Settles anchors that several boxes claim: (P) bool, at most one pair an anchor.
at::Tensor settle_claims(const Pairs& pairs, const at::Tensor& overlap, const at::Tensor& claimed, int64_t anchors) {
  const auto claims = at::zeros({anchors}, pairs.anchor.options()).scatter_add_(0, pairs.anchor, claimed.to(at::kLong));
  const auto contested = claims.index_select(0, pairs.anchor) > 1;
  const auto best_overlap = at::zeros({anchors}, overlap.options()).scatter_reduce(0, pairs.anchor, overlap, "amax");
  const auto is_best = pairs.inside & (overlap == best_overlap.index_select(0, pairs.anchor));
  // Equal overlaps: the box that comes first.
  const auto count = pairs.anchor.size(0);
  const auto number = at::arange(count, pairs.anchor.options());
  const auto candidate = number.masked_fill(is_best.logical_not(), count);
  const auto winner =
      at::full({anchors}, count, pairs.anchor.options()).scatter_reduce(0, pairs.anchor, candidate, "amin");
  return at::where(contested, winner.index_select(0, pairs.anchor) == number, claimed);
}

/// The largest of `values` by box: (T).
at::Tensor largest_by_box(const at::Tensor& values, const at::Tensor& truth, int64_t boxes) {
  return at::zeros({boxes}, values.options()).scatter_reduce(0, truth, values, "amax");
}

Assignment nothing_assigned(const at::Tensor& boxes, const Truth& truth) {
  const auto none = at::empty({0}, truth.image.options());
  return {none, none, at::empty({0}, boxes.options())};
}

}  // namespace

Assignment assign_task_aligned(const AnchorGrid& grid, const at::Tensor& logits, const at::Tensor& boxes,
                               const Truth& truth, const AssignerOptions& options) {
  const at::NoGradGuard no_grad;
  const int64_t count = truth.boxes.size(0);
  if (count == 0) return nothing_assigned(boxes, truth);
  const auto pairs = list_pairs(grid, truth);
  const auto fit = rate_pairs(pairs, logits, boxes, truth, options);
  const auto claimed = claim_best(pairs, fit.alignment, count, options.topk);
  const auto settled = settle_claims(pairs, fit.overlap, claimed, logits.size(0) * grid.size());

  const auto chosen = settled.nonzero().flatten();
  const auto owner = pairs.truth.index_select(0, chosen);
  const auto overlap = fit.overlap.index_select(0, chosen);
  const auto alignment = fit.alignment.index_select(0, chosen);
  const auto scale = largest_by_box(overlap, owner, count) / (largest_by_box(alignment, owner, count) + kAlignmentEps);
  return {pairs.anchor.index_select(0, chosen), owner, alignment * scale.index_select(0, owner)};
}

}  // namespace tenfold
