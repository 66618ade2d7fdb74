#include "anchor_grid.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace tenfold {
namespace {

void describe_levels(AnchorGrid& grid) {
  const auto count = static_cast<int64_t>(grid.levels.size());
  std::vector<double> stride, cells;
  std::vector<int64_t> first;
  for (const AnchorGrid::Level& level : grid.levels) {
    const auto width = static_cast<double>(level.width), height = static_cast<double>(level.height);
    stride.push_back(level.stride);
    cells.insert(cells.end(), {width, height, width, height});
    first.push_back(level.first);
  }
  grid.level_stride = at::tensor(stride, at::kDouble).view({count, 1}).to(grid.points.options());
  grid.level_cells = at::tensor(cells, at::kDouble).view({count, 4}).to(grid.points.options());
  grid.level_first = at::tensor(first, at::kLong).to(grid.points.device());
}

}  // namespace

AnchorGrid make_anchor_grid(const std::vector<at::Tensor>& raw, const std::vector<int>& strides, at::ScalarType dtype) {
  AnchorGrid grid;
  std::vector<at::Tensor> points, stride;
  int64_t first = 0;
  for (size_t i = 0; i < raw.size(); ++i) {
    const int64_t height = raw[i].size(2), width = raw[i].size(3);
    grid.levels.push_back({height, width, strides[i], first});
    first += height * width;
    const auto options = raw[i].options().dtype(dtype).requires_grad(false);
    const auto x = (at::arange(width, options) + 0.5) * strides[i];
    const auto y = (at::arange(height, options) + 0.5) * strides[i];
    points.push_back(
        at::stack({x.view({1, width}).expand({height, width}), y.view({height, 1}).expand({height, width})}, -1)
            .view({-1, 2}));
    stride.push_back(at::full({height * width, 1}, strides[i], options));
  }
  grid.points = at::cat(points);
  grid.stride = at::cat(stride);
  describe_levels(grid);
  return grid;
}

bool AnchorGrid::fits(const std::vector<at::Tensor>& raw, at::ScalarType dtype) const {
  const auto is_of = [](const Level& level, const at::Tensor& map) {
    return level.height == map.size(2) && level.width == map.size(3);
  };
  return points.device() == raw.front().device() && points.scalar_type() == dtype && std::ranges::equal(levels, raw, is_of);
}

at::Tensor by_anchor(const std::vector<at::Tensor>& raw) {
  std::vector<at::Tensor> rows;
  for (const auto& map : raw) rows.push_back(map.permute({0, 2, 3, 1}).flatten(1, 2));
  return at::cat(rows, 1);
}

at::Tensor expected_distance(const at::Tensor& logits, int bins) {
  const auto values = at::arange(bins, logits.options().requires_grad(false));
  return logits.unflatten(-1, {4, bins}).softmax(-1).matmul(values);
}

at::Tensor boxes_around(const at::Tensor& points, const at::Tensor& distances, const at::Tensor& scale) {
  const auto reach = distances * scale;
  return at::cat({points - reach.narrow(-1, 0, 2), points + reach.narrow(-1, 2, 2)}, -1);
}

}  // namespace tenfold
