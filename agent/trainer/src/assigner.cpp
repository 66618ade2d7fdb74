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

/// How well each pair fits.
struct Fit {
  at::Tensor overlap;    // (P) CIoU of predicted and true box, not below 0; 0 outside
  at::Tensor alignment;  // (P) score^alpha * overlap^beta
};

Fit rate_pairs(const Candidates& pairs, const at::Tensor& logits, const at::Tensor& boxes,
               const AssignerOptions& options) {
  const auto predicted = boxes.reshape({-1, 4}).index_select(0, pairs.anchor);
  const auto overlap = box_ciou(pairs.box, predicted).clamp_min(0) * pairs.inside;
  const auto score = logits.reshape({-1}).index_select(0, pairs.logit).sigmoid();
  return {overlap, score.pow(options.alpha) * overlap.pow(options.beta)};
}

/// Which pairs are among the `topk` best aligned of their box: (P) bool. Pairs of alignment 0 never are.
at::Tensor claim_best(const Candidates& pairs, const at::Tensor& alignment, int topk) {
  // One sort for all boxes: a key with the box above and the alignment below, descending. The bits of a float that is
  // not negative are ordered as the float is. Pairs are sorted within their box's, so places are what they were.
  const auto bits = alignment.to(at::kFloat).contiguous().view(at::kInt).to(at::kLong);
  const auto key = pairs.truth * (int64_t{1} << 32) - bits;
  const auto order = std::get<1>(at::sort(key, /*stable=*/true, /*dim=*/0, /*descending=*/false));
  const auto among_best = at::empty_like(pairs.inside).scatter_(0, order, pairs.place < topk);
  return among_best & (alignment > 0);
}

/// Settles anchors that several boxes claim: (P) bool, at most one pair an anchor.
at::Tensor settle_claims(const Candidates& pairs, const at::Tensor& overlap, const at::Tensor& claimed, int64_t anchors) {
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

Candidates list_candidates(const AnchorGrid& grid, const Truth& truth, int64_t classes) {
  const at::NoGradGuard no_grad;
  const int64_t boxes = truth.boxes.size(0), levels = grid.level_first.size(0);
  // The first cell whose centre may lie in the box, and one past the last, in x and y: generous by a cell, for `inside`
  // decides. (T, L, 4)
  const auto edges = truth.boxes.unsqueeze(1) / grid.level_stride - 0.5;
  const auto generous = at::cat({edges.narrow(2, 0, 2).floor(), edges.narrow(2, 2, 2).ceil() + 1}, 2);
  const auto cells = at::minimum(generous.clamp_min_(0), grid.level_cells).to(at::kLong);
  const auto extent = (cells.narrow(2, 2, 2) - cells.narrow(2, 0, 2)).clamp_min_(0);
  const auto columns = extent.select(2, 0), sizes = columns * extent.select(2, 1);
  const auto width = grid.level_cells.select(1, 0).to(at::kLong).expand({boxes, levels});
  const auto origin = grid.level_first + cells.select(2, 1) * width + cells.select(2, 0);
  const auto start = sizes.flatten().cumsum(0).view_as(sizes) - sizes;  // of a rectangle's pairs

  // One rectangle a box and level, a box's levels side by side; what its pairs have to know of it. (T * L, 8)
  const auto by_box = [&](const at::Tensor& values) { return values.unsqueeze(1).expand({boxes, levels}); };
  const auto numbers = at::arange(boxes, sizes.options());
  const auto known = at::stack({by_box(numbers), by_box(start.select(1, 0)), by_box(truth.image * grid.size()),
                                by_box(truth.cls), start, columns, width, origin}, 2).flatten(0, 1);
  const auto rectangle = at::repeat_interleave(sizes.flatten());  // (P)
  const auto of = known.index_select(0, rectangle).t().contiguous().unbind(0);
  const auto &owner = of[0], &first_of_box = of[1], &first_of_image = of[2], &cls = of[3];
  const auto &first_of_rectangle = of[4], &across = of[5], &row = of[6], &corner = of[7];
  const auto pair = at::arange(rectangle.size(0), sizes.options());
  const auto cell = pair - first_of_rectangle;
  const auto down = cell.div(across, "floor");
  const auto point = corner + down * row + (cell - down * across);
  const auto anchor = first_of_image + point;

  const auto centre = grid.points.index_select(0, point).t().contiguous();  // (2, P)
  const auto sides = truth.boxes.index_select(0, owner).t().contiguous();   // (4, P)
  const auto margin = at::minimum(centre - sides.narrow(0, 0, 2), sides.narrow(0, 2, 2) - centre).amin(0);
  return {owner, anchor, anchor * classes + cls, sides.t(), margin > kAlignmentEps, pair - first_of_box};
}

Assignment assign_task_aligned(const Candidates& pairs, const at::Tensor& logits, const at::Tensor& boxes,
                               const Truth& truth, const AssignerOptions& options) {
  const at::NoGradGuard no_grad;
  const int64_t count = truth.boxes.size(0);
  if (count == 0) return nothing_assigned(boxes, truth);
  const auto fit = rate_pairs(pairs, logits, boxes, options);
  const auto claimed = claim_best(pairs, fit.alignment, options.topk);
  const auto settled = settle_claims(pairs, fit.overlap, claimed, logits.size(0) * logits.size(1));

  const auto chosen = settled.nonzero().flatten();
  const auto owner = pairs.truth.index_select(0, chosen);
  const auto overlap = fit.overlap.index_select(0, chosen);
  const auto alignment = fit.alignment.index_select(0, chosen);
  const auto scale = largest_by_box(overlap, owner, count) / (largest_by_box(alignment, owner, count) + kAlignmentEps);
  return {pairs.anchor.index_select(0, chosen), owner, alignment * scale.index_select(0, owner)};
}

}  // namespace tenfold
