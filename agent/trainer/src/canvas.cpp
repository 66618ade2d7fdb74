#include "canvas.h"

#include <algorithm>
#include <cmath>

#include "text_raster.h"

namespace tenfold {

namespace {

/// Whole pixels [left, right) x [top, bottom).
struct Pixels {
  int left = 0, top = 0, right = 0, bottom = 0;
  int width() const { return std::max(0, right - left); }
  int height() const { return std::max(0, bottom - top); }
};

Pixels pixels_around(const Rect& area, const Image& image) {
  const auto cut = [](double value, int end) { return static_cast<int>(std::clamp(value, 0.0, static_cast<double>(end))); };
  return {cut(std::floor(area.left), image.width), cut(std::floor(area.top), image.height),
          cut(std::ceil(area.right), image.width), cut(std::ceil(area.bottom), image.height)};
}

/// How much of pixel `i` lies in [from, to).
double shared(int i, double from, double to) { return std::clamp(std::min(to, i + 1.0) - std::max(from, static_cast<double>(i)), 0.0, 1.0); }

double distance_to_segment(const Point& p, const Point& a, const Point& b) {
  const double dx = b.x - a.x, dy = b.y - a.y;
  const double length2 = dx * dx + dy * dy;
  const double along = length2 > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length2, 0.0, 1.0) : 0.0;
  return std::hypot(p.x - a.x - along * dx, p.y - a.y - along * dy);
}

Rect bounds(std::span<const Point> points, double margin) {
  Rect area{points[0].x, points[0].y, points[0].x, points[0].y};
  for (const Point& p : points) {
    area.left = std::min(area.left, p.x), area.right = std::max(area.right, p.x);
    area.top = std::min(area.top, p.y), area.bottom = std::max(area.bottom, p.y);
  }
  return {area.left - margin, area.top - margin, area.right + margin, area.bottom + margin};
}

/// The coverage of a part of the picture.
class Mask {
 public:
  explicit Mask(const Pixels& area)
      : area_(area), values_(static_cast<size_t>(area.width()) * static_cast<size_t>(area.height()), 0.0F) {}

  const Pixels& area() const { return area_; }
  float& at(int x, int y) {
    return values_[static_cast<size_t>(y - area_.top) * static_cast<size_t>(area_.width()) + static_cast<size_t>(x - area_.left)];
  }

  /// A segment with round ends. Pieces no longer than a few widths keep the area that is looked at small.
  void add_segment(const Point& a, const Point& b, double half_width, const Image& image) {
    const double length = std::hypot(b.x - a.x, b.y - a.y);
    const int pieces = std::max(1, static_cast<int>(length / std::max(16.0, 4 * half_width)));
    const auto on_the_way = [&](int i) { return Point{a.x + (b.x - a.x) * i / pieces, a.y + (b.y - a.y) * i / pieces}; };
    for (int i = 0; i < pieces; ++i) add_piece(on_the_way(i), on_the_way(i + 1), half_width, image);
  }

 private:
  void add_piece(const Point& a, const Point& b, double half_width, const Image& image) {
    const Point ends[] = {a, b};
    const Pixels around = pixels_around(bounds(ends, half_width + 1), image);
    for (int y = around.top; y < around.bottom; ++y)
      for (int x = around.left; x < around.right; ++x) {
        const double distance = distance_to_segment({x + 0.5, y + 0.5}, a, b);
        const auto coverage = static_cast<float>(std::clamp(half_width + 0.5 - distance, 0.0, std::min(1.0, 2 * half_width)));
        at(x, y) = std::max(at(x, y), coverage);
      }
  }

  Pixels area_;
  std::vector<float> values_;
};

/// Cuts a line into dashes of `dash` pixels with gaps as long.
std::vector<std::pair<Point, Point>> dashes(std::span<const Point> points, double dash) {
  std::vector<std::pair<Point, Point>> parts;
  double done = 0;  // along the whole line
  for (size_t i = 1; i < points.size(); ++i) {
    const Point &a = points[i - 1], &b = points[i];
    const double length = std::hypot(b.x - a.x, b.y - a.y);
    if (length <= 0) continue;
    const auto at = [&](double s) { return Point{a.x + (b.x - a.x) * s / length, a.y + (b.y - a.y) * s / length}; };
    for (double s = 0; s < length;) {
      const double period = std::floor((done + s) / dash);
      const double end = std::min(length, (period + 1) * dash - done);
      if (end <= s) break;  // rounding
      if (std::fmod(period, 2) == 0) parts.emplace_back(at(s), at(end));
      s = end;
    }
    done += length;
  }
  return parts;
}

}  // namespace

void Canvas::blend(int x, int y, const Ink& ink, double coverage) {
  uint8_t* pixel = image_.row(y) + 3 * x;
  const double share = ink.opacity * coverage;
  const auto mix = [share](uint8_t below, uint8_t above) {
    return static_cast<uint8_t>(std::lround(below + (above - below) * share));
  };
  pixel[0] = mix(pixel[0], ink.colour.r);
  pixel[1] = mix(pixel[1], ink.colour.g);
  pixel[2] = mix(pixel[2], ink.colour.b);
}

void Canvas::fill(const Rect& area, const Ink& ink) {
  const Pixels around = pixels_around(area, image_);
  for (int y = around.top; y < around.bottom; ++y) {
    const double rows = shared(y, area.top, area.bottom);
    for (int x = around.left; x < around.right; ++x) blend(x, y, ink, rows * shared(x, area.left, area.right));
  }
}

void Canvas::frame(const Rect& area, double width, const Ink& ink) {
  fill({area.left, area.top, area.right, area.top + width}, ink);
  fill({area.left, area.bottom - width, area.right, area.bottom}, ink);
  fill({area.left, area.top + width, area.left + width, area.bottom - width}, ink);
  fill({area.right - width, area.top + width, area.right, area.bottom - width}, ink);
}

void Canvas::line(std::span<const Point> points, const Stroke& stroke) {
  if (points.size() < 2) return;
  Mask mask(pixels_around(bounds(points, stroke.width / 2 + 1), image_));
  const double half = stroke.width / 2;
  if (stroke.dash > 0) {
    for (const auto& [from, to] : dashes(points, stroke.dash)) mask.add_segment(from, to, half, image_);
  } else {
    for (size_t i = 1; i < points.size(); ++i) mask.add_segment(points[i - 1], points[i], half, image_);
  }
  const Pixels& area = mask.area();
  for (int y = area.top; y < area.bottom; ++y)
    for (int x = area.left; x < area.right; ++x)
      if (const float coverage = mask.at(x, y); coverage > 0) blend(x, y, stroke.ink, static_cast<double>(coverage));
}

void Canvas::dot(const Point& centre, double radius, const Ink& ink) {
  const Pixels around = pixels_around(bounds({&centre, 1}, radius + 1), image_);
  for (int y = around.top; y < around.bottom; ++y)
    for (int x = around.left; x < around.right; ++x) {
      const double distance = std::hypot(x + 0.5 - centre.x, y + 0.5 - centre.y);
      blend(x, y, ink, std::clamp(radius + 0.5 - distance, 0.0, 1.0));
    }
}

void Canvas::text(const Point& at, std::string_view text, const TextStyle& style) {
  const TextMask mask = rasterise_text(text, style.size);
  const double before = style.align == Align::left ? 0 : style.align == Align::right ? mask.width : mask.width / 2.0;
  // Letters sit on whole pixels, or they would blur.
  const auto along = static_cast<int>(std::lround(style.upwards ? at.y + before : at.x - before));
  const auto across = static_cast<int>(std::lround((style.upwards ? at.x : at.y) - mask.height / 2.0));
  for (int row = 0; row < mask.height; ++row)
    for (int column = 0; column < mask.width; ++column) {
      const int x = style.upwards ? across + row : along + column;
      const int y = style.upwards ? along - 1 - column : across + row;
      if (x < 0 || x >= image_.width || y < 0 || y >= image_.height || mask.at(column, row) == 0) continue;
      blend(x, y, {style.colour, 1}, mask.at(column, row) / 255.0);
    }
}

}  // namespace tenfold
