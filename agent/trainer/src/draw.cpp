#include "draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ranges>

#include "canvas.h"
#include "text_raster.h"

namespace tenfold {

namespace {

/// Twenty colours of spread hue and brightness; the first ones are the farthest apart.
constexpr std::array<Rgb, 20> kColours{
    {{230, 60, 60},  {60, 120, 240},  {60, 180, 75},  {245, 190, 30},  {170, 60, 200},  {60, 210, 220},  {250, 130, 40},
     {240, 80, 180}, {150, 200, 40},  {0, 130, 130},  {160, 100, 50},  {110, 110, 250}, {250, 160, 160}, {0, 100, 40},
     {140, 30, 60},  {200, 170, 250}, {110, 120, 20}, {130, 220, 170}, {30, 60, 130},   {250, 220, 150}}};

/// Black or white, whichever reads better on `background` (Rec. 601 luma).
Rgb text_colour_on(Rgb background) {
  const double luma = 0.299 * background.r + 0.587 * background.g + 0.114 * background.b;
  return luma > 140 ? Rgb{0, 0, 0} : Rgb{255, 255, 255};
}

/// Lines and letters grow with the picture alike: it is looked at as a whole, however many pixels it has.
struct Pen {
  int thickness = 1;  // pixels
  double text = 14;   // pixels

  static Pen for_picture(const Image& image) {
    const int side = std::min(image.width, image.height);
    return {std::max(2, side / 240), std::max(14.0, side / 32.0)};
  }
};

/// The caption on a bar of the box's colour above the box, or just inside it where the picture ends.
void draw_caption(Canvas& canvas, const Rect& box, const std::string& text, const Pen& pen, Rgb colour) {
  const TextSize size = text_size(text, pen.text);
  const double margin = std::round(pen.text / 5);
  const double width = size.width + 2 * margin, height = size.height;
  const double left = std::clamp(box.left, 0.0, std::max(0.0, canvas.width() - width));
  const double above = box.top >= height ? box.top - height : box.top;
  const double top = std::clamp(above, 0.0, std::max(0.0, canvas.height() - height));
  canvas.fill({left, top, left + width, top + height}, {colour});
  canvas.text({left + margin, top + height / 2}, text, {.size = pen.text, .colour = text_colour_on(colour)});
}

}  // namespace

std::string caption(std::string_view name, float score) {
  if (score < 0) return std::string(name);
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), " %.2f", static_cast<double>(score));
  return std::string(name) + text.data();
}

Rgb class_colour(int cls) {
  return kColours[static_cast<unsigned>(cls) % kColours.size()];
}

Image draw_boxes(const Image& image, std::span<const DrawnBox> boxes, int min_side) {
  const double scale = std::max(1.0, static_cast<double>(min_side) / std::min(image.width, image.height));
  Canvas canvas(resize(image, static_cast<int>(std::lround(image.width * scale)),
                       static_cast<int>(std::lround(image.height * scale))));
  const Pen pen = Pen::for_picture(canvas.picture());
  // Whole pixels: the edges of a box are to be seen sharply.
  const auto pixel = [&](float coordinate) { return std::round(coordinate * scale); };
  const auto place = [&](const DrawnBox& box) { return Rect{pixel(box.x1), pixel(box.y1), pixel(box.x2), pixel(box.y2)}; };
  for (const DrawnBox& box : boxes) canvas.frame(place(box), pen.thickness, {class_colour(box.cls)});
  // Captions last, so that no outline runs through one, and from the end: where they overlap, the first box (of
  // predictions the surest) stays readable.
  for (const DrawnBox& box : std::views::reverse(boxes)) {
    if (box.caption.empty()) continue;
    draw_caption(canvas, place(box), box.caption, pen, class_colour(box.cls));
  }
  return canvas.take();
}

Image picture_grid(std::span<const Image> images, int cell) {
  if (images.empty()) return {};
  const int columns = static_cast<int>(std::ceil(std::sqrt(static_cast<double>(images.size()))));
  const int rows = (static_cast<int>(images.size()) + columns - 1) / columns;
  constexpr int kGap = 4;
  Image grid(columns * (cell + kGap) - kGap, rows * (cell + kGap) - kGap, kGrey);
  for (size_t i = 0; i < images.size(); ++i) {
    const double scale = static_cast<double>(cell) / std::max(images[i].width, images[i].height);
    const Image fitted = resize(images[i], std::max(1, static_cast<int>(std::lround(images[i].width * scale))),
                                std::max(1, static_cast<int>(std::lround(images[i].height * scale))));
    const int left = static_cast<int>(i) % columns * (cell + kGap) + (cell - fitted.width) / 2;
    const int top = static_cast<int>(i) / columns * (cell + kGap) + (cell - fitted.height) / 2;
    for (int y = 0; y < fitted.height; ++y) std::memcpy(grid.row(top + y) + 3 * left, fitted.row(y), fitted.stride());
  }
  return grid;
}

}  // namespace tenfold
