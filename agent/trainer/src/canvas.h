// Lines, areas and letters with smooth edges, drawn over a picture.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "image.h"

namespace tenfold {

/// In pixels from the top left corner; (0.5, 0.5) is the middle of the first pixel.
struct Point {
  double x = 0, y = 0;
};

struct Rect {
  double left = 0, top = 0, right = 0, bottom = 0;
  double width() const { return right - left; }
  double height() const { return bottom - top; }
};

struct Ink {
  Rgb colour;
  double opacity = 1;
};

struct Stroke {
  Ink ink;
  double width = 1;  // pixels
  double dash = 0;   // length of dashes and of the gaps between them, pixels; 0: a whole line
};

/// Where of a text the point lies that it is drawn at.
enum class Align { left, centre, right };

struct TextStyle {
  double size = 14;  // pixels
  Rgb colour{};
  Align align = Align::left;
  bool upwards = false;  // turned a quarter: reads from bottom to top
};

/// All methods cut off what lies outside.
class Canvas {
 public:
  explicit Canvas(Image picture) : image_(std::move(picture)) {}

  int width() const { return image_.width; }
  int height() const { return image_.height; }
  const Image& picture() const { return image_; }
  Image take() { return std::move(image_); }

  /// An edge between two pixels is smoothed: half a pixel is half as dark.
  void fill(const Rect& area, const Ink& ink);
  /// The border of `area`, `width` pixels wide and inside of it.
  void frame(const Rect& area, double width, const Ink& ink);
  /// One stroke through all points: where it crosses itself it is no darker.
  void line(std::span<const Point> points, const Stroke& stroke);
  void dot(const Point& centre, double radius, const Ink& ink);
  /// One line of text, centred on `at` across the direction of writing.
  void text(const Point& at, std::string_view text, const TextStyle& style);

 private:
  void blend(int x, int y, const Ink& ink, double coverage);

  Image image_;
};

}  // namespace tenfold
