#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>

#include "anchor_grid.h"
#include "box.h"
#include "full_precision.h"
#include "loss_families.h"

namespace tenfold {
namespace {

/// A box learns at anchors that are narrower and lower than this many times the box, and wider and higher than one
/// part in as many.
constexpr double kMaxShapeRatio = 4.0;

/// Weights of the scales' objectness, finest first: fine maps have most cells, so a mean over their cells is weak.
std::vector<double> objectness_balance(size_t scales) {
  if (scales == 3) return {4.0, 1.0, 0.4};
  constexpr std::array<double, 5> kOthers = {4.0, 1.0, 0.25, 0.06, 0.02};
  std::vector<double> balance;
  for (size_t i = 0; i < scales; ++i) balance.push_back(kOthers[std::min(i, kOthers.size() - 1)]);
  return balance;
}

/// P pairs of a box and a cell with an anchor that learns it, on one scale.
struct Matches {
  at::Tensor image, anchor, row, column;  // (P) int64: where in the map
  at::Tensor truth;                       // (P) int64: row of the targets
  at::Tensor box;                         // (P, 4) cx, cy from the cell's corner, w, h; in cells
};

/// `targets` (M, 6), `anchors` (A, 2) in cells, on a map of `height` x `width` cells. A box learns in its own cell and,
/// of the cells beside, above and below, in the two that its centre is nearest to, at every anchor of similar shape.
Matches match_targets(const at::Tensor& targets, const at::Tensor& anchors, int64_t height, int64_t width) {
  const at::NoGradGuard no_grad;
  const auto options = anchors.options();
  const auto size = at::tensor({width, height}, at::kFloat).to(options, /*non_blocking=*/true);
  const auto centres = targets.narrow(1, 2, 2) * size, shapes = targets.narrow(1, 4, 2) * size;  // (M, 2)

  const auto ratio = shapes.unsqueeze(0) / anchors.unsqueeze(1);  // (A, M, 2)
  const auto fits = (at::maximum(ratio, ratio.reciprocal()).amax(-1) < kMaxShapeRatio).nonzero();
  const auto anchor = fits.select(1, 0), truth = fits.select(1, 1);  // (F)

  // Distances from the map's near and far edges: under half a cell past a line, the neighbour beyond it is near too.
  const auto centre = centres.index_select(0, truth);  // (F, 2)
  const auto from_far = size - centre;
  const auto near = ((centre.frac() < 0.5) & (centre > 1)).t();  // (2, F): left, above
  const auto far = ((from_far.frac() < 0.5) & (from_far > 1)).t();
  const auto own = at::ones({1, centre.size(0)}, near.options());
  const auto chosen = at::cat({own, near, far}).nonzero();  // (P, 2)
  const auto steps = at::tensor({0.F, 0.F, -0.5F, 0.F, 0.F, -0.5F, 0.5F, 0.F, 0.F, 0.5F}, at::kFloat)
                         .to(options, /*non_blocking=*/true)
                         .view({5, 2});  // half a cell towards the neighbour
  const auto fit = chosen.select(1, 1);

  const auto point = centre.index_select(0, fit);
  const auto cell = (point + steps.index_select(0, chosen.select(1, 0))).floor();
  const auto column = cell.select(1, 0).clamp(0, width - 1), row = cell.select(1, 1).clamp(0, height - 1);
  const auto owner = truth.index_select(0, fit);
  const auto offset = point - at::stack({column, row}, 1);
  return {targets.select(1, 0).to(at::kLong).index_select(0, owner),
          anchor.index_select(0, fit),
          row.to(at::kLong),
          column.to(at::kLong),
          owner,
          at::cat({offset, shapes.index_select(0, owner)}, 1)};
}

/// Where several boxes learn at the same anchor, the last of them says what its objectness is: (P) bool.
at::Tensor speaks_for_cell(const Matches& matches, const at::Tensor& map) {
  const auto cell = ((matches.image * map.size(1) + matches.anchor) * map.size(2) + matches.row) * map.size(3) +
                    matches.column;
  const auto number = at::arange(cell.size(0), cell.options());
  const auto cells = map.size(0) * map.size(1) * map.size(2) * map.size(3);
  const auto last = at::full({cells}, -1, cell.options()).scatter_reduce(0, cell, number, "amax");
  return last.index_select(0, cell) == number;
}

/// Sums: box, obj and cls by scale. Normalisers: images, matches by scale, anchors of the maps by scale.
class AnchorLoss : public DetectionLoss {
 public:
  AnchorLoss(HeadLayout layout, const LossGains& gains)
      : layout_(std::move(layout)), gains_(gains), balance_(objectness_balance(layout_.strides.size())) {}

  LossTerms terms(const std::vector<at::Tensor>& raw, const at::Tensor& targets, int /*height*/,
                  int /*width*/) override {
    const auto dtype = raw.front().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const auto options = raw.front().options().dtype(dtype).requires_grad(false);
    const auto labels = targets.to(options, /*non_blocking=*/true);
    std::vector<Matches> matches;                 // by scale, as is all that follows
    std::vector<at::Tensor> rows, shapes, boxes;  // (P, 5 + nc), (P, 2), (P, 4)
    std::vector<int64_t> counts;
    for (size_t i = 0; i < raw.size(); ++i) {
      const auto& map = raw[i];  // (B, A, H, W, 5 + nc)
      const auto anchors = layout_.anchors[static_cast<int64_t>(i)].to(options);
      const auto& own = matches.emplace_back(match_targets(labels, anchors, map.size(2), map.size(3)));
      rows.push_back(full_precision(map.index({own.image, own.anchor, own.row, own.column})));
      shapes.push_back(anchors.index_select(0, own.anchor));
      boxes.push_back(own.box);
      counts.push_back(rows.back().size(0));
    }
    const auto overlap = overlaps(at::cat(rows), at::cat(shapes), at::cat(boxes)).split_with_sizes(counts);

    const auto classes = labels.select(1, 1).to(at::kLong);
    std::vector<at::Tensor> box, obj, cls;
    std::vector<double> images = {static_cast<double>(raw.front().size(0))}, matched, anchors;
    for (size_t i = 0; i < raw.size(); ++i) {
      box.push_back((1 - overlap[i]).sum() * gains_.box);
      obj.push_back(objectness(raw[i], rows[i], matches[i], overlap[i]) * (gains_.obj * balance_[i]));
      cls.push_back(classification(rows[i], classes.index_select(0, matches[i].truth)) * gains_.cls);
      matched.push_back(static_cast<double>(counts[i]));
      anchors.push_back(static_cast<double>(raw[i].numel() / raw[i].size(4)));
    }
    images.insert(images.end(), matched.begin(), matched.end());
    images.insert(images.end(), anchors.begin(), anchors.end());
    box.insert(box.end(), obj.begin(), obj.end());
    box.insert(box.end(), cls.begin(), cls.end());
    return {at::stack(box), at::tensor(images, at::kDouble).to(options, /*non_blocking=*/true)};
  }

 protected:
  at::Tensor items(const at::Tensor& sums, const at::Tensor& whole) const override {
    const auto scales = static_cast<int64_t>(layout_.strides.size());
    const auto matched = whole.narrow(0, 1, scales), anchors = whole.narrow(0, 1 + scales, scales);
    const auto counts = at::stack({matched, anchors, matched * layout_.nc}).clamp_min(1);
    return (sums.view({3, scales}) / counts).sum(1);
  }

 private:
  /// CIoU of the boxes that `rows` (P, 5 + nc) predict with the true ones (P, 4), both in cells: (P).
  static at::Tensor overlaps(const at::Tensor& rows, const at::Tensor& anchors, const at::Tensor& truth) {
    const auto spread = rows.narrow(1, 0, 4).sigmoid() * 2;  // 0..2
    const auto centre = spread.narrow(1, 0, 2) - 0.5, shape = spread.narrow(1, 2, 2).square() * anchors;
    return box_ciou(xywh_to_xyxy(at::cat({centre, shape}, 1)), xywh_to_xyxy(truth));
  }

  /// Sum over all anchors of BCE(x, y), y being the overlap where a box is learnt and 0 elsewhere. It is
  /// softplus(x) - x y, so only the matched anchors need more than the softplus.
  static at::Tensor objectness(const at::Tensor& map, const at::Tensor& rows, const Matches& matches,
                               const at::Tensor& overlap) {
    const auto wanted = overlap.detach().clamp_min(0) * speaks_for_cell(matches, map).to(overlap.scalar_type());
    return at::softplus(full_precision(map.select(4, 4))).sum() - (rows.select(1, 4) * wanted).sum();
  }

  /// Sum over matches and classes of BCE, with the labels smoothed; a single class needs no telling apart.
  at::Tensor classification(const at::Tensor& rows, const at::Tensor& cls) const {
    const auto logits = rows.narrow(1, 5, layout_.nc);
    if (layout_.nc == 1) return logits.sum() * 0;  // still connected to the head
    const double off = 0.5 * gains_.label_smoothing, on = 1.0 - off;
    const auto right = logits.gather(1, cls.unsqueeze(1)).sum();
    return at::softplus(logits).sum() - logits.sum() * off - right * (on - off);
  }

  HeadLayout layout_;
  LossGains gains_;
  std::vector<double> balance_;  // by scale
};

}  // namespace

std::unique_ptr<DetectionLoss> make_anchor_loss(const HeadLayout& layout, const LossGains& gains) {
  return std::make_unique<AnchorLoss>(layout, gains);
}

}  // namespace tenfold
