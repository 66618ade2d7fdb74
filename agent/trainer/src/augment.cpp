#include "augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "hsv.h"
#include "warp.h"

namespace tenfold {

namespace {

/// Box by its edges, in pixels of a canvas or of the network's input.
struct Edges {
  double left = 0, top = 0, right = 0, bottom = 0;
  double width() const { return right - left; }
  double height() const { return bottom - top; }
  double area() const { return std::max(0.0, width()) * std::max(0.0, height()); }
};

Edges clip(const Edges& box, const Edges& to) {
  return {std::clamp(box.left, to.left, to.right), std::clamp(box.top, to.top, to.bottom),
          std::clamp(box.right, to.left, to.right), std::clamp(box.bottom, to.top, to.bottom)};
}

struct CanvasBox {
  int cls = 0;
  Edges edges;
};

/// Pictures laid out before the random view of them is taken, with their boxes in canvas pixels.
struct Canvas {
  int width = 0;
  int height = 0;
  std::vector<std::shared_ptr<const Picture>> pictures = {};  // keeps the tiles' images
  std::vector<Tile> tiles = {};
  std::vector<CanvasBox> boxes = {};
};

/// Adds a picture whose top left corner lies at (x, y), which may be outside; what the canvas does not hold is cut off.
void lay(Canvas& canvas, std::shared_ptr<const Picture> picture, int x, int y) {
  const ImageView& image = picture->image;
  const Tile tile{image,
                  std::max(x, 0),
                  std::max(y, 0),
                  std::min(x + image.width, canvas.width),
                  std::min(y + image.height, canvas.height),
                  x,
                  y};
  const Edges visible{double(tile.left), double(tile.top), double(tile.right), double(tile.bottom)};
  for (const Label& label : picture->labels) {
    const double left = x + (label.cx - label.w / 2.0) * image.width,
                 top = y + (label.cy - label.h / 2.0) * image.height;
    const Edges whole{left, top, left + double(label.w) * image.width, top + double(label.h) * image.height};
    if (const Edges shown = clip(whole, visible); shown.area() > 0) canvas.boxes.push_back({label.cls, shown});
  }
  canvas.tiles.push_back(tile);
  canvas.pictures.push_back(std::move(picture));
}

/// Four pictures that meet in a random point of the middle half of a canvas of twice the size: mosaic (YOLOv4, 2020,
/// section 3.3). Which corner sample `id` gets is random as well.
Canvas mosaic_canvas(int64_t id, int64_t dataset_size, int size, SampleRng& rng, const PictureSource& pictures) {
  Canvas canvas{2 * size, 2 * size};
  const int meet_x = static_cast<int>(std::lround(rng.uniform(0.5 * size, 1.5 * size)));
  const int meet_y = static_cast<int>(std::lround(rng.uniform(0.5 * size, 1.5 * size)));
  std::array<int64_t, 4> ids{};
  for (int64_t& other : ids) other = rng.below(dataset_size);
  ids[static_cast<size_t>(rng.below(4))] = id;
  for (size_t corner = 0; corner < 4; ++corner) {
    auto picture = pictures(ids[corner]);
    const bool left = corner % 2 == 0, upper = corner < 2;
    const int x = left ? meet_x - picture->image.width : meet_x;
    const int y = upper ? meet_y - picture->image.height : meet_y;
    lay(canvas, std::move(picture), x, y);
  }
  return canvas;
}

Canvas single_canvas(int64_t id, PlanarOut out, const PictureSource& pictures) {
  Canvas canvas{out.width, out.height};
  auto picture = pictures(id);
  const int x = (out.width - picture->image.width) / 2, y = (out.height - picture->image.height) / 2;
  lay(canvas, std::move(picture), x, y);
  return canvas;
}

double radians(double degrees) {
  return degrees * std::numbers::pi / 180;
}

/// A random view: canvas -> network input. The canvas' centre goes, turned, scaled, sheared, to about the input's centre.
struct View {
  Transform to_input;
  double scale = 1;
};

View random_view(const Canvas& canvas, PlanarOut out, const AugmentOptions& options, SampleRng& rng) {
  const auto around_zero = [&](double limit) { return rng.uniform(-limit, limit); };
  const Transform centred = Transform::translation(-canvas.width / 2.0, -canvas.height / 2.0);
  Transform perspective;
  perspective.m[6] = around_zero(options.perspective);
  perspective.m[7] = around_zero(options.perspective);
  const double angle = radians(around_zero(options.degrees));
  const double scale = rng.uniform(1 - options.scale, 1 + options.scale);
  const Transform turn{{scale * std::cos(angle), scale * std::sin(angle), 0,   //
                        -scale * std::sin(angle), scale * std::cos(angle), 0,  //
                        0, 0, 1}};
  Transform shear;
  shear.m[1] = std::tan(radians(around_zero(options.shear)));
  shear.m[3] = std::tan(radians(around_zero(options.shear)));
  const double x = rng.uniform(0.5 - options.translate, 0.5 + options.translate) * out.width;
  const double y = rng.uniform(0.5 - options.translate, 0.5 + options.translate) * out.height;
  Transform flip;
  if (rng.chance(options.fliplr)) flip = Transform{{-1, 0, double(out.width), 0, 1, 0, 0, 0, 1}} * flip;
  if (rng.chance(options.flipud)) flip = Transform{{1, 0, 0, 0, -1, double(out.height), 0, 0, 1}} * flip;
  return {flip * Transform::translation(x, y) * shear * turn * perspective * centred, scale};
}

/// The upright box around a transformed box's four corners.
Edges transformed(const Edges& box, const Transform& transform) {
  const std::array<Transform::Point, 4> corners{transform(box.left, box.top), transform(box.right, box.top),
                                                transform(box.right, box.bottom), transform(box.left, box.bottom)};
  const auto [left, right] = std::ranges::minmax(corners, {}, &Transform::Point::x);
  const auto [top, bottom] = std::ranges::minmax(corners, {}, &Transform::Point::y);
  return {left.x, top.y, right.x, bottom.y};
}

/// Whether enough is left of an object to learn from: two pixels each way, a tenth of its area, and no mere sliver.
/// The limits are the ones that YOLO tools agree on.
bool worth_keeping(const Edges& before, double scale, const Edges& shown) {
  constexpr double kMinSide = 2, kMinVisible = 0.1, kMaxAspect = 100;
  const double w = shown.width(), h = shown.height();
  return w > kMinSide && h > kMinSide && shown.area() > kMinVisible * before.area() * scale * scale &&
         std::max(w / h, h / w) < kMaxAspect;
}

Label normalised(int cls, const Edges& box, PlanarOut out) {
  return {cls, static_cast<float>((box.left + box.right) / 2 / out.width),
          static_cast<float>((box.top + box.bottom) / 2 / out.height), static_cast<float>(box.width() / out.width),
          static_cast<float>(box.height() / out.height)};
}

void append_labels(const Canvas& canvas, const View& view, PlanarOut out, std::vector<Label>& labels) {
  const Edges input{0, 0, double(out.width), double(out.height)};
  for (const CanvasBox& box : canvas.boxes) {
    const Edges shown = clip(transformed(box.edges, view.to_input), input);
    if (worth_keeping(box.edges, view.scale, shown)) labels.push_back(normalised(box.cls, shown, out));
  }
}

/// One training picture before mixing and colours.
void render_scene(int64_t id, int64_t dataset_size, const AugmentOptions& options, SampleRng& rng,
                  const PictureSource& pictures, PlanarOut out, std::vector<Label>& labels) {
  const Canvas canvas = rng.chance(options.mosaic) ? mosaic_canvas(id, dataset_size, out.width, rng, pictures)
                                                   : single_canvas(id, out, pictures);
  const View view = random_view(canvas, out, options, rng);
  render(canvas.tiles, view.to_input.inverse(), out);
  append_labels(canvas, view, out, labels);
}

/// Beta(32, 32): the 32nd smallest of 63 uniform numbers has this distribution.
double mixup_ratio(SampleRng& rng) {
  std::array<double, 63> draws{};
  for (double& draw : draws) draw = rng.uniform();
  std::ranges::nth_element(draws, draws.begin() + 31);
  return draws[31];
}

/// mixup (Zhang et al., 2018) of two pictures; the labels of both stay.
void blend_into(PlanarOut out, const uint8_t* other, double ratio) {
  const auto own = static_cast<uint32_t>(std::lround(ratio * 256));
  const size_t bytes = 3 * out.plane();
  for (size_t i = 0; i < bytes; ++i)
    out.data[i] = static_cast<uint8_t>((out.data[i] * own + other[i] * (256 - own) + 128) >> 8);
}

HsvGains random_gains(const AugmentOptions& options, SampleRng& rng) {
  const auto gain = [&](float limit) { return static_cast<float>(1 + rng.uniform(-1, 1) * limit); };
  HsvGains gains;
  gains.hue = gain(options.hsv_h);
  gains.saturation = gain(options.hsv_s);
  gains.value = gain(options.hsv_v);
  return gains;
}

}  // namespace

FittedSize fit_into_square(int width, int height, int size) {
  const double scale = static_cast<double>(size) / std::max(width, height);
  const auto scaled = [&](int side) { return std::clamp(static_cast<int>(std::lround(side * scale)), 1, size); };
  return {scaled(width), scaled(height)};
}

LetterboxInfo letterbox(const Picture& picture, PlanarOut out, std::vector<Label>& labels) {
  const ImageView& image = picture.image;
  const int pad_x = (out.width - image.width) / 2, pad_y = (out.height - image.height) / 2;
  const Tile tile{image, pad_x, pad_y, pad_x + image.width, pad_y + image.height, pad_x, pad_y};
  render({&tile, 1}, Transform{}, out);

  labels.clear();
  for (const Label& label : picture.labels) {
    const auto along = [](float centre, int side, int pad, int all) {
      return static_cast<float>((double(centre) * side + pad) / all);
    };
    labels.push_back({label.cls, along(label.cx, image.width, pad_x, out.width),
                      along(label.cy, image.height, pad_y, out.height), along(label.w, image.width, 0, out.width),
                      along(label.h, image.height, 0, out.height)});
  }
  const float scale = static_cast<float>(std::max(image.width, image.height)) /
                      static_cast<float>(std::max(picture.original_width, picture.original_height));
  return {scale, static_cast<float>(pad_x), static_cast<float>(pad_y), image.width, image.height,
          picture.original_width, picture.original_height};
}

std::vector<Label> augment(int64_t id, int64_t dataset_size, const AugmentOptions& options, SampleRng rng,
                           const PictureSource& pictures, PlanarOut out) {
  std::vector<Label> labels;
  render_scene(id, dataset_size, options, rng, pictures, out, labels);
  if (rng.chance(options.mixup)) {
    PixelBuffer other(3 * out.plane());
    const PlanarOut other_out{other.data(), out.width, out.height};
    render_scene(rng.below(dataset_size), dataset_size, options, rng, pictures, other_out, labels);
    blend_into(out, other.data(), mixup_ratio(rng));
  }
  if (options.hsv_h > 0 || options.hsv_s > 0 || options.hsv_v > 0) change_colours(out, random_gains(options, rng));
  return labels;
}

}  // namespace tenfold
