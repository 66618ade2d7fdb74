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

/// `coordinate` is fixed-point and continuous; pixel centres lie at halves. Beyond the outer centres the edge repeats.
Between neighbours(int64_t coordinate, int length) {
  const int64_t from_centre = std::clamp<int64_t>(coordinate - kOne / 2, 0, (length - 1) * kOne);
  return Between::at(static_cast<int32_t>(from_centre >> kFraction),
                     static_cast<int>(from_centre >> (kFraction - 8)) & 255);
}

/// The row below, or the same one at the bottom edge (where its weight is zero).
const uint8_t* next_row(const ImageView& image, int y) {
  return image.row(std::min(y + 1, image.height - 1));
}

/// The 2x2 pixels around (x, y).
Square square_at(const ImageView& image, Between x, Between y) {
  return {image.row(y.first) + 3 * x.first,
          next_row(image, y.first) + 3 * x.first,
          y.first_weight,
          y.second_weight,
          x.first_weight,
          x.second_weight};
}

void fill_grey(PlanarRow row, int width) {
  for (uint8_t* plane : {row.r, row.g, row.b}) std::memset(plane, kGrey.r, static_cast<size_t>(width));
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
        y_start_(fixed(to_canvas.m[5] + (to_canvas.m[3] + to_canvas.m[4]) / 2)) {}

  void render() {
    if (y_per_u_ == 0 && x_per_v_ == 0) prepare_columns();
    for (int v = 0; v < out_.height; ++v) {
      fill_grey(out_.row(v), out_.width);
      for (size_t t = 0; t < tiles_.size(); ++t) {
        if (columns_.empty()) {
          draw_slanted(tiles_[t], v);
        } else {
          draw_upright(tiles_[t], columns_[t], v);
        }
      }
    }
  }

 private:
  struct Columns {
    Span span;                     // output columns that see the tile
    std::vector<Between> between;  // the picture's columns, by output column from span.begin
    int first = 0, last = 0;       // picture columns that are needed, inclusive
    bool copied = false;           // each is exactly one picture column, the next one's is the next
  };

  int64_t canvas_x(int v) const { return x_start_ + x_per_v_ * v; }
  int64_t canvas_y(int v) const { return y_start_ + y_per_v_ * v; }

  /// Without rotation and shear every row looks at the same columns.
  void prepare_columns() {
    for (const Tile& tile : tiles_) {
      Columns columns;
      columns.span = where_between(x_start_, x_per_u_, tile.left * kOne, tile.right * kOne, {0, out_.width});
      columns.first = tile.image.width;
      for (int u = columns.span.begin; u < columns.span.end; ++u) {
        columns.between.push_back(neighbours(x_start_ + x_per_u_ * u - tile.offset_x * kOne, tile.image.width));
        columns.first = std::min(columns.first, columns.between.back().first);
        columns.last = std::max(columns.last, std::min(columns.between.back().first + 1, tile.image.width - 1));
      }
      columns.copied = x_per_u_ == kOne && !columns.span.empty() && columns.between.front().second_weight == 0;
      columns_.push_back(std::move(columns));
      // One pixel more than a picture row: its weight is zero.
      blend_.resize(std::max(blend_.size(), 3 * static_cast<size_t>(tile.image.width + 1) + kBlendSlack));
    }
  }

  void draw_upright(const Tile& tile, const Columns& columns, int v) {
    const int64_t y = canvas_y(v);
    if (columns.span.empty() || y < tile.top * kOne || y >= tile.bottom * kOne) return;
    const Between rows = neighbours(y - tile.offset_y * kOne, tile.image.height);
    const int count = columns.span.end - columns.span.begin;
    const PlanarRow out = out_.row(v).from(columns.span.begin);
    const uint8_t* upper = tile.image.row(rows.first);
    if (columns.copied && rows.second_weight == 0) return split_row(upper + 3 * columns.first, count, out);
    const int first = 3 * columns.first, bytes = 3 * (columns.last + 1) - first;
    blend_rows(upper + first, next_row(tile.image, rows.first) + first, rows.second_weight, bytes,
               blend_.data() + first);
    pick_columns(blend_.data(), columns.between.data(), count, out);
  }

  void draw_slanted(const Tile& tile, int v) {
    Span span = where_between(canvas_x(v), x_per_u_, tile.left * kOne, tile.right * kOne, {0, out_.width});
    span = where_between(canvas_y(v), y_per_u_, tile.top * kOne, tile.bottom * kOne, span);
    if (span.empty()) return;
    int64_t x = canvas_x(v) + x_per_u_ * span.begin - tile.offset_x * kOne;
    int64_t y = canvas_y(v) + y_per_u_ * span.begin - tile.offset_y * kOne;
    squares_.clear();
    for (int u = span.begin; u < span.end; ++u, x += x_per_u_, y += y_per_u_)
      squares_.push_back(square_at(tile.image, neighbours(x, tile.image.width), neighbours(y, tile.image.height)));
    sample_squares(squares_.data(), span.end - span.begin, out_.row(v).from(span.begin));
  }

  std::span<const Tile> tiles_;
  PlanarOut out_;
  int64_t x_per_u_, x_per_v_, y_per_u_, y_per_v_, x_start_, y_start_;
  std::vector<Columns> columns_;  // by tile; empty when the view is slanted
  std::vector<uint16_t> blend_;   // two picture rows blended
  std::vector<Square> squares_;   // of a row of a slanted view
};

/// Every pixel by itself: perspective is rare.
void render_perspective(std::span<const Tile> tiles, const Transform& to_canvas, PlanarOut out) {
  for (int v = 0; v < out.height; ++v) {
    const PlanarRow row = out.row(v);
    fill_grey(row, out.width);
    for (int u = 0; u < out.width; ++u) {
      const auto [x, y] = to_canvas(u + 0.5, v + 0.5);
      for (const Tile& tile : tiles) {
        if (!(x >= tile.left && x < tile.right && y >= tile.top && y < tile.bottom)) continue;
        const Square square = square_at(tile.image, neighbours(fixed(x - tile.offset_x), tile.image.width),
                                        neighbours(fixed(y - tile.offset_y), tile.image.height));
        sample_squares(&square, 1, row.from(u));
        break;
      }
    }
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
