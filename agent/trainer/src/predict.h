// Detections in pictures of any size, in the pixels of those pictures.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "augment.h"
#include "device.h"
#include "image.h"
#include "model.h"
#include "picture_files.h"
#include "postprocess.h"

namespace tenfold {

struct Prediction {
  int cls = 0;
  float score = 0;
  float x1 = 0, y1 = 0, x2 = 0, y2 = 0;  ///< pixels of the picture, within it
};

/// How a picture lies in the network's square: input = original * scale + pad, by axis. The two scales differ where a
/// fitted side was rounded to whole pixels.
struct PictureFit {
  float scale_x = 1, scale_y = 1;
  float pad_x = 0, pad_y = 0;
  int width = 0, height = 0;  ///< of the original, pixels
};
PictureFit fit_picture(int width, int height, int imgsz);

/// A row of Detections (x1, y1, x2, y2, score, class) in pixels of the network's input, moved back into the original.
Prediction to_original(std::span<const float, 6> row, const PictureFit& fit);

/// A picture that was read: for the network, and for drawing on it.
struct ReadPicture {
  const PictureFile* file = nullptr;
  Image image;         ///< at its own size; empty where the file could not be read, or nothing is drawn on it
  at::Tensor input;    ///< uint8 (3, S, S)
  PictureFit fit;
  std::string defect;  ///< why the file could not be read; empty where it could
};
ReadPicture read_picture(const PictureFile& file, int imgsz);

/// How much a batch holds.
struct BatchLimits {
  size_t pictures = 8;                     ///< at most
  size_t pixel_bytes = size_t{256} << 20;  ///< of pictures at their own size; the one that reaches it is the last
  bool keep_pixels = true;                 ///< of pictures at their own size, to draw on them
};

/// Reads the first of `files`: at least one if there is any. Pictures may be of 600 MB each, and several batches are in the
/// making at a time.
std::vector<ReadPicture> read_batch(std::span<const PictureFile> files, int imgsz, const BatchLimits& limits);

/// What the detector finds in each of the pictures; nothing in those that could not be read.
std::vector<std::vector<Prediction>> predict(Detector& model, const ComputeDevice& device,
                                             std::span<const ReadPicture> pictures, const DetectOptions& options);

}  // namespace tenfold
