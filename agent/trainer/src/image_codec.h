#pragma once

// The formats behind decode_image() and probe_image(), one file each. `file` starts with the format's signature;
// failures throw ImageError without the format's name, which image.cpp puts in front.

#include <cstdint>
#include <span>

#include "image.h"

namespace tenfold {

struct ImageSize {
  int width = 0;
  int height = 0;
};

// As stored: orientation is applied by image.cpp.
ImageSize probe_jpeg(std::span<const uint8_t> file);
ImageSize probe_png(std::span<const uint8_t> file);
ImageSize probe_webp(std::span<const uint8_t> file);

Image decode_jpeg(std::span<const uint8_t> file, int min_long_side);
Image decode_png(std::span<const uint8_t> file);
Image decode_webp(std::span<const uint8_t> file, int min_long_side);

/// EXIF orientation of a JPEG file, 1 (upright) to 8; 1 when there is none or it makes no sense.
int exif_orientation(std::span<const uint8_t> jpeg);

/// The picture turned upright from EXIF `orientation` (2..8).
Image turn_upright(const Image& stored, int orientation);

}  // namespace tenfold
