#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "dataset.h"
#include "image.h"
#include "pixel_rows.h"
#include "rng.h"

namespace tenfold {

/// How a training picture is varied; names and defaults as YOLO users know them.
struct AugmentOptions {
  float hsv_h = 0.015f;      // share of the hue circle's value
  float hsv_s = 0.7f;        // saturation is multiplied by 1 +- this
  float hsv_v = 0.4f;        // value (brightness) likewise
  float degrees = 0.0f;      // rotation, +-
  float translate = 0.1f;    // share of the picture, +-
  float scale = 0.5f;        // size is multiplied by 1 +- this
  float shear = 0.0f;        // degrees, +-, each axis
  float perspective = 0.0f;  // 0 .. 0.001
  float flipud = 0.0f;       // probability
  float fliplr = 0.5f;       // probability
  float mosaic = 1.0f;       // probability of four pictures in one
  float mixup = 0.0f;        // probability of blending with a second picture
};

/// How a picture was fitted into the network's input: input = original * scale + pad, in pixels.
struct LetterboxInfo {
  float scale = 1.0f;
  float pad_x = 0.0f;
  float pad_y = 0.0f;
  int width = 0;  // of the picture in the input
  int height = 0;
  int original_width = 0;
  int original_height = 0;
};

/// A picture at the working size (longer side = the network's input size) with its labels. Whoever gives it keeps the
/// pixels.
struct Picture {
  ImageView image;
  std::span<const Label> labels;
  int original_width = 0;  // of the file's picture
  int original_height = 0;
};

/// Gives the picture of a sample id; a corrupt one comes as a grey picture without labels.
using PictureSource = std::function<std::shared_ptr<const Picture>(int64_t id)>;

/// Where a network input goes: planar RGB, (3, H, W), in memory of the caller.
struct PlanarOut {
  uint8_t* data = nullptr;
  int width = 0;
  int height = 0;
  size_t plane() const { return static_cast<size_t>(width) * static_cast<size_t>(height); }
  PlanarRow row(int y) const {
    uint8_t* const r = data + static_cast<size_t>(y) * static_cast<size_t>(width);
    return {r, r + plane(), r + 2 * plane()};
  }
};

/// Size of a picture fitted into a square: the longer side becomes `size`, the other keeps the proportion (at least 1).
struct FittedSize {
  int width = 0;
  int height = 0;
};
FittedSize fit_into_square(int width, int height, int size);

/// Lays `picture`, which must not be larger, centred on grey. `labels` are set to its labels, normalised to the input.
LetterboxInfo letterbox(const Picture& picture, PlanarOut out, std::vector<Label>& labels);

/// The training picture of sample `id`: a function of its arguments and `rng`'s state alone. `dataset_size` bounds the
/// ids that mosaic and mixup draw from. Mosaics need a square input. Returns its labels, normalised to the input.
std::vector<Label> augment(int64_t id, int64_t dataset_size, const AugmentOptions& options, SampleRng rng,
                           const PictureSource& pictures, PlanarOut out);

}  // namespace tenfold
