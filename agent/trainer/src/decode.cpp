// What the families' raw head maps say, as boxes in pixels and scores.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "anchor_grid.h"
#include "full_precision.h"
#include "postprocess.h"

namespace tenfold {
namespace {

/// v8 and v10: distances from the cell's centre to the box's sides.
at::Tensor decode_distributions(const std::vector<at::Tensor>& raw, const HeadLayout& layout) {
  const auto predictions = full_precision(by_anchor(raw));
  const auto grid = make_anchor_grid(raw, layout.strides, predictions.scalar_type());
  const int64_t sides = 4 * layout.reg_max;
  const auto distances = expected_distance(predictions.narrow(-1, 0, sides), layout.reg_max);  // (B, A, 4)
  const auto near = distances.narrow(-1, 0, 2), far = distances.narrow(-1, 2, 2);
  const auto centre = grid.points + (far - near) * (grid.stride * 0.5);
  const auto size = (near + far) * grid.stride;
  const auto scores = predictions.narrow(-1, sides, layout.nc).sigmoid();
  return at::cat({centre, size, scores}, -1).transpose(1, 2);
}

/// v5: the centre up to a cell and a half away from the cell's corner, the size up to four times the anchor's.
at::Tensor decode_anchors(const std::vector<at::Tensor>& raw, const HeadLayout& layout) {
  std::vector<at::Tensor> by_level;  // each (B, anchors * H * W, 4 + nc)
  for (size_t i = 0; i < raw.size(); ++i) {
    const auto values = full_precision(raw[i]).sigmoid();  // (B, anchors, H, W, 5 + nc)
    const auto options = values.options().requires_grad(false);
    const int64_t height = values.size(2), width = values.size(3);
    const auto x = at::arange(width, options).view({1, width}).expand({height, width});
    const auto y = at::arange(height, options).view({height, 1}).expand({height, width});
    const auto corner = at::stack({x, y}, -1);  // (H, W, 2)
    const auto shape = layout.anchors[static_cast<int64_t>(i)].to(options).view({-1, 1, 1, 2});
    const auto centre = (values.narrow(-1, 0, 2) * 2 - 0.5 + corner) * layout.strides[i];
    const auto size = (values.narrow(-1, 2, 2) * 2).square() * (shape * layout.strides[i]);
    const auto scores = values.narrow(-1, 5, layout.nc) * values.narrow(-1, 4, 1);
    by_level.push_back(at::cat({centre, size, scores}, -1).flatten(1, 3));
  }
  return at::cat(by_level, 1).transpose(1, 2);
}

}  // namespace

at::Tensor decode(const std::vector<at::Tensor>& raw, const HeadLayout& layout) {
  const at::NoGradGuard no_grad;
  switch (layout.family) {
    case Family::v5:
      return decode_anchors(raw, layout);
    case Family::v8:
    case Family::v10:
      return decode_distributions({raw.end() - static_cast<ptrdiff_t>(layout.strides.size()), raw.end()}, layout);
  }
  throw std::logic_error("a family without a decoder");
}

}  // namespace tenfold
