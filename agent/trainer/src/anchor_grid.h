// The anchor points that a detector's head maps stand for.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace tenfold {

/// The anchor points of all head maps: A of them, in order of map, row, column.
struct AnchorGrid {
  struct Level {
    int64_t height, width;  // cells
    int stride;             // pixels a cell
    int64_t first;          // index of its first anchor
  };
  std::vector<Level> levels;
  at::Tensor points;  ///< (A, 2) x, y of the cell centres, in pixels
  at::Tensor stride;  ///< (A, 1) pixels
  // The levels, L of them, once more: on the device of the points, for arithmetic there.
  at::Tensor level_stride;  ///< (L, 1) pixels
  at::Tensor level_cells;   ///< (L, 4) width, height, width, height
  at::Tensor level_first;   ///< (L) int64
  int64_t size() const { return points.size(0); }
  /// Whether make_anchor_grid would make the same of these head maps and the same strides.
  bool fits(const std::vector<at::Tensor>& raw, at::ScalarType dtype) const;
};

/// The grid of these head maps, on their device, in `dtype`.
AnchorGrid make_anchor_grid(const std::vector<at::Tensor>& raw, const std::vector<int>& strides, at::ScalarType dtype);

/// Head maps (B, C, H, W) as one list of predictions by anchor, (B, A, C).
at::Tensor by_anchor(const std::vector<at::Tensor>& raw);

/// Expected distance of each box side from its anchor point, in cells: (…, 4 * bins) logits to (…, 4) left, top,
/// right, bottom.
at::Tensor expected_distance(const at::Tensor& logits, int bins);

/// Boxes x1, y1, x2, y2 in the units of `points` (…, 2), from distances (…, 4) times `scale` (…, 1).
at::Tensor boxes_around(const at::Tensor& points, const at::Tensor& distances, const at::Tensor& scale);

}  // namespace tenfold
