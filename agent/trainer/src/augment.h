#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "dataset.h"
#include "image.h"
#include "rng.h"

namespace tenfold {

/// How a training picture is varied; names and defaults as YOLO users know them.
struct AugmentOptions {
  float hsv_h = 0.015f;  // share of the hue circle's value
  float hsv_s = 0.7f;    // saturation is multiplied by 1 +- this
  float hsv_v = 0.4f;    // value (brightness) likewise
  float degrees = 0.0f;  // rotation, +-
  float translate = 0.1f;  // share of the picture, +-
  float scale = 0.5f;      // size is multiplied by 1 +- this
  float shear = 0.0f;      // degrees, +-, each axis
  float perspective = 0.0f;  // 0 .. 0.001
  float flipud = 0.0f;       // probability
  float fliplr = 0.5f;       // probability
  float mosaic = 1.0f;       // probability of four pictures in one
  float mixup = 0.0f;        // probability of blending with a second picture
};

/// How a picture was fitted into the network's square: input = original * scale + pad, in pixels.
struct LetterboxInfo {
  float scale = 1.0f;
  float pad_x = 0.0f;
  float pad_y = 0.0f;
  int original_width = 0;
  int original_height = 0;
};

/// A square picture for the network with its labels, normalised to the square.
struct NetworkSample {
  Image image;
  std::vector<Label> labels;
  LetterboxInfo letterbox;
};

/// A picture at the loader's working size (longer side = imgsz) with its labels; shared with the cache.
struct SourcePicture {
  std::shared_ptr<const Image> image;
  std::span<const Label> labels;
};

/// Gives the picture of a sample id; a corrupt one comes as a grey picture without labels.
using PictureSource = std::function<SourcePicture(int64_t id)>;

/// Fits `picture` centred into a square of `size` pixels on grey; the picture is resized when its longer side differs.
/// The letterbox refers to `original_width` x `original_height`, the size of the file's picture.
NetworkSample letterbox(const SourcePicture& picture, int size, int original_width, int original_height);

/// The training picture of sample `id`: a function of its arguments and `rng`'s state alone. `dataset_size` bounds the
/// ids that mosaic and mixup draw from.
NetworkSample augment(int64_t id, int64_t dataset_size, int size, const AugmentOptions& options, SampleRng rng,
                      const PictureSource& pictures);

}  // namespace tenfold
