// Bilinear warping in fixed point: the same bytes on every machine. Every tile is drawn row by row; the span of output
// pixels that see it is computed, not tested pixel by pixel. When output rows run along picture rows (no rotation or
// shear, the usual case) two picture rows are blended first, which vectorises, and the columns picked from the blend.
#include "warp.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace tenfold {

namespace {

constexpr int kFraction = 16;  // bits after the point of a canvas coordinate
constexpr int64_t kOne = int64_t{1} << kFraction;

int64_t fixed(double value) {
  return std::llround(value * static_cast<double>(kOne));
}

int64_t floor_divide(int64_t a, int64_t b) {  // b > 0
  const int64_t quotient = a / b;
  return quotient * b > a ? quotient - 1 : quotient;
}

struct Span {
  int begin = 0, end = 0;
  bool empty() const { return begin >= end; }
};

/// The u in [within.begin, within.end) with low <= start + step * u < high.
Span where_between(int64_t start, int64_t step, int64_t low, int64_t high, Span within) {
  if (step == 0) return low <= start && start < high ? within : Span{};
  const auto first_at_least = [&](int64_t bound) { return -floor_divide(start - bound, step); };   // step > 0
  const auto first_below = [&](int64_t bound) { return floor_divide(start - bound, -step) + 1; };  // step < 0
  const int64_t begin = step > 0 ? first_at_least(low) : first_below(high);
  const int64_t end = step > 0 ? first_at_least(high) : first_below(low);
  return {static_cast<int>(std::clamp<int64_t>(begin, within.begin, within.end)),
          static_cast<int>(std::clamp<int64_t>(end, within.begin, within.end))};
}

/// Where a sample lies between two neighbouring pixels of a line: the first one, and the weight of the second in 1/256.
struct Between {
  int first = 0;
  uint32_t second_weight = 0;
};

/// `coordinate` is fixed-point and continuous; pixel centres lie at halves. Beyond the outer centres the edge repeats.
Between neighbours(int64_t coordinate, int length) {
  const int64_t from_centre = std::clamp<int64_t>(coordinate - kOne / 2, 0, (length - 1) * kOne);
  return {static_cast<int>(from_centre >> kFraction), static_cast<uint32_t>(from_centre >> (kFraction - 8)) & 255};
}

/// The row below, or the same one at the bottom edge (where its weight is zero).
const uint8_t* next_row(const Image& image, int y) {
  return image.row(std::min(y + 1, image.height - 1));
}

/// One output pixel from the 2x2 pixels around (x, y). May read the pixel right of the last one, with weight zero.
void sample(const Image& image, Between x, Between y, uint8_t* out) {
  const uint8_t* upper = image.row(y.first) + 3 * x.first;
  const uint8_t* lower = next_row(image, y.first) + 3 * x.first;
  for (int c = 0; c < 3; ++c) {
    const uint32_t left = upper[c] * (256 - y.second_weight) + lower[c] * y.second_weight;
    const uint32_t right = upper[c + 3] * (256 - y.second_weight) + lower[c + 3] * y.second_weight;
    out[c] = static_cast<uint8_t>((left * (256 - x.second_weight) + right * x.second_weight + (1U << 15)) >> 16);
  }
}

void split_planes(const uint8_t* interleaved, PlanarOut out, int y) {
  uint8_t* r = out.data + static_cast<size_t>(y) * static_cast<size_t>(out.size);
  uint8_t* g = r + out.plane();
  uint8_t* b = g + out.plane();
  for (int x = 0; x < out.size; ++x) {
    r[x] = interleaved[3 * x];
    g[x] = interleaved[3 * x + 1];
    b[x] = interleaved[3 * x + 2];
  }
}

/// Draws output rows of affine views.
class AffineRenderer {
 public:
  AffineRenderer(std::span<const Tile> tiles, const Transform& to_canvas, PlanarOut out)
      : tiles_(tiles),
        out_(out),
        x_per_u_(fixed(to_canvas.m[0])),
        x_per_v_(fixed(to_canvas.m[1])),
        y_per_u_(fixed(to_canvas.m[3])),
        y_per_v_(fixed(to_canvas.m[4])),
        // Output pixel centres lie at halves, too.
        x_start_(fixed(to_canvas.m[2] + (to_canvas.m[0] + to_canvas.m[1]) / 2)),
        y_start_(fixed(to_canvas.m[5] + (to_canvas.m[3] + to_canvas.m[4]) / 2)),
        row_(3 * static_cast<size_t>(out.size)) {}

  void render() {
    if (y_per_u_ == 0 && x_per_v_ == 0) prepare_columns();
    for (int v = 0; v < out_.size; ++v) {
      std::memset(row_.data(), kGrey.r, row_.size());
      for (size_t t = 0; t < tiles_.size(); ++t) {
        if (columns_.empty()) {
          draw_slanted(tiles_[t], v);
        } else {
          draw_upright(tiles_[t], columns_[t], v);
        }
      }
      split_planes(row_.data(), out_, v);
    }
  }

 private:
  struct Columns {
    Span span;                     // output columns that see the tile
    std::vector<Between> between;  // the picture's columns, by output column from span.begin
    int first = 0, last = 0;       // picture columns that are needed, inclusive
  };

  int64_t canvas_x(int v) const { return x_start_ + x_per_v_ * v; }
  int64_t canvas_y(int v) const { return y_start_ + y_per_v_ * v; }

  /// Without rotation and shear every row looks at the same columns.
  void prepare_columns() {
    for (const Tile& tile : tiles_) {
      Columns columns;
      columns.span = where_between(x_start_, x_per_u_, tile.left * kOne, tile.right * kOne, {0, out_.size});
      columns.first = tile.image->width;
      for (int u = columns.span.begin; u < columns.span.end; ++u) {
        columns.between.push_back(neighbours(x_start_ + x_per_u_ * u - tile.offset_x * kOne, tile.image->width));
        columns.first = std::min(columns.first, columns.between.back().first);
        columns.last = std::max(columns.last, std::min(columns.between.back().first + 1, tile.image->width - 1));
      }
      columns_.push_back(std::move(columns));
      // One pixel more than a picture row: its weight is zero.
      blend_.resize(std::max(blend_.size(), 3 * static_cast<size_t>(tile.image->width + 1)));
    }
  }

  void draw_upright(const Tile& tile, const Columns& columns, int v) {
    const int64_t y = canvas_y(v);
    if (columns.span.empty() || y < tile.top * kOne || y >= tile.bottom * kOne) return;
    const Between rows = neighbours(y - tile.offset_y * kOne, tile.image->height);
    blend_rows(*tile.image, rows, 3 * columns.first, 3 * (columns.last + 1));
    uint8_t* out = row_.data() + 3 * columns.span.begin;
    for (const Between& x : columns.between) {
      const uint16_t* left = blend_.data() + 3 * x.first;
      for (int c = 0; c < 3; ++c)
        *out++ = static_cast<uint8_t>(
            (left[c] * (256 - x.second_weight) + left[c + 3] * x.second_weight + (1U << 15)) >> 16);
    }
  }

  void blend_rows(const Image& image, Between rows, int begin, int end) {
    const uint8_t* upper = image.row(rows.first);
    const uint8_t* lower = next_row(image, rows.first);
    uint16_t* blend = blend_.data();
    const auto lower_weight = static_cast<uint16_t>(rows.second_weight);
    const auto upper_weight = static_cast<uint16_t>(256 - rows.second_weight);
    for (int i = begin; i < end; ++i)
      blend[i] = static_cast<uint16_t>(upper[i] * upper_weight + lower[i] * lower_weight);
  }

  void draw_slanted(const Tile& tile, int v) {
    Span span = where_between(canvas_x(v), x_per_u_, tile.left * kOne, tile.right * kOne, {0, out_.size});
    span = where_between(canvas_y(v), y_per_u_, tile.top * kOne, tile.bottom * kOne, span);
    int64_t x = canvas_x(v) + x_per_u_ * span.begin - tile.offset_x * kOne;
    int64_t y = canvas_y(v) + y_per_u_ * span.begin - tile.offset_y * kOne;
    uint8_t* out = row_.data() + 3 * span.begin;
    for (int u = span.begin; u < span.end; ++u, x += x_per_u_, y += y_per_u_, out += 3)
      sample(*tile.image, neighbours(x, tile.image->width), neighbours(y, tile.image->height), out);
  }

  std::span<const Tile> tiles_;
  PlanarOut out_;
  int64_t x_per_u_, x_per_v_, y_per_u_, y_per_v_, x_start_, y_start_;
  std::vector<uint8_t> row_;      // interleaved output row
  std::vector<Columns> columns_;  // by tile; empty when the view is slanted
  std::vector<uint16_t> blend_;   // two picture rows blended, 8 fractional bits
};

/// Every pixel by itself: perspective is rare.
void render_perspective(std::span<const Tile> tiles, const Transform& to_canvas, PlanarOut out) {
  std::vector<uint8_t> row(3 * static_cast<size_t>(out.size));
  for (int v = 0; v < out.size; ++v) {
    std::memset(row.data(), kGrey.r, row.size());
    for (int u = 0; u < out.size; ++u) {
      const auto [x, y] = to_canvas(u + 0.5, v + 0.5);
      for (const Tile& tile : tiles) {
        if (!(x >= tile.left && x < tile.right && y >= tile.top && y < tile.bottom)) continue;
        sample(*tile.image, neighbours(fixed(x - tile.offset_x), tile.image->width),
               neighbours(fixed(y - tile.offset_y), tile.image->height), row.data() + 3 * u);
        break;
      }
    }
    split_planes(row.data(), out, v);
  }
}

}  // namespace

void render(std::span<const Tile> tiles, const Transform& to_canvas, PlanarOut out) {
  if (to_canvas.affine()) {
    AffineRenderer(tiles, to_canvas, out).render();
  } else {
    render_perspective(tiles, to_canvas, out);
  }
}

}  // namespace tenfold
