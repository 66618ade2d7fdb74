#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image.h"

namespace tenfold {

/// A box to draw, in pixels of the image, with what is written at it.
struct DrawnBox {
  float x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  int cls = 0;          // chooses the colour
  std::string caption;  // e.g. "sandal 0.87"; may be empty
};

/// "name 0.87", or the name alone when `score` is negative.
std::string caption(std::string_view name, float score = -1.0f);

/// Colours that are easily told apart; repeats after 20 classes.
Rgb class_colour(int cls);

/// The picture with its boxes and captions, enlarged so that its shorter side has at least `min_side` pixels (text on
/// a 160 pixel picture could not be read).
Image draw_boxes(const Image& image, std::span<const DrawnBox> boxes, int min_side = 480);

/// Pictures side by side in a near-square grid on grey; each is fitted into a cell of `cell` x `cell` pixels.
Image picture_grid(std::span<const Image> images, int cell = 320);

}  // namespace tenfold
