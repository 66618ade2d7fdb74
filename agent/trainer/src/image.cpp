#include "image.h"

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "image_codec.h"

namespace tenfold {

namespace {

size_t pixel_bytes(int width, int height) {
  if (width <= 0 || height <= 0) throw ImageError("image size must be positive");
  return static_cast<size_t>(width) * static_cast<size_t>(height) * 3;
}

bool starts_with(std::span<const uint8_t> file, std::string_view signature, size_t at = 0) {
  return file.size() >= at + signature.size() && std::memcmp(file.data() + at, signature.data(), signature.size()) == 0;
}

ImageFormat format_of(std::span<const uint8_t> file) {
  if (starts_with(file, "\xFF\xD8\xFF")) return ImageFormat::jpeg;
  if (starts_with(file, "\x89PNG\r\n\x1A\n")) return ImageFormat::png;
  if (starts_with(file, "RIFF") && starts_with(file, "WEBP", 8)) return ImageFormat::webp;
  throw ImageError(file.empty() ? "the file is empty or missing" : "not a JPEG, PNG or WebP file");
}

const char* name_of(ImageFormat format) {
  switch (format) {
    case ImageFormat::jpeg:
      return "JPEG";
    case ImageFormat::png:
      return "PNG";
    case ImageFormat::webp:
      return "WebP";
  }
  return "";
}

ImageSize probe_stored(ImageFormat format, std::span<const uint8_t> file) {
  switch (format) {
    case ImageFormat::jpeg:
      return probe_jpeg(file);
    case ImageFormat::png:
      return probe_png(file);
    case ImageFormat::webp:
      return probe_webp(file);
  }
  return {};
}

Image decode_stored(ImageFormat format, std::span<const uint8_t> file, int min_long_side) {
  switch (format) {
    case ImageFormat::jpeg:
      return decode_jpeg(file, min_long_side);
    case ImageFormat::png:
      return decode_png(file);
    case ImageFormat::webp:
      return decode_webp(file, min_long_side);
  }
  return {};
}

/// Runs a step of reading `format`, putting the format's name before what went wrong.
template <typename Step>
auto naming_format(ImageFormat format, Step step) {
  try {
    return step();
  } catch (const ImageError& error) {
    throw ImageError(std::string(name_of(format)) + ": " + error.what());
  }
}

}  // namespace

Image::Image(int width_pixels, int height_pixels)
    : width(width_pixels), height(height_pixels), pixels(pixel_bytes(width_pixels, height_pixels)) {}

Image::Image(int width_pixels, int height_pixels, Rgb colour) : Image(width_pixels, height_pixels) {
  uint8_t* p = pixels.data();
  for (size_t left = pixels.size(); left > 0; left -= 3) {
    *p++ = colour.r;
    *p++ = colour.g;
    *p++ = colour.b;
  }
}

Image Image::clone() const {
  if (empty()) return {};
  Image copy(width, height);
  std::memcpy(copy.pixels.data(), pixels.data(), pixels.size());
  return copy;
}

ImageInfo probe_image(std::span<const uint8_t> file, int64_t max_pixels) {
  const ImageFormat format = format_of(file);
  return naming_format(format, [&] {
    const ImageSize stored = probe_stored(format, file);
    if (stored.width <= 0 || stored.height <= 0) throw ImageError("declares an empty picture");
    if (int64_t{stored.width} * stored.height > max_pixels)
      throw ImageError("declares " + std::to_string(stored.width) + "x" + std::to_string(stored.height) +
                       " pixels, more than the " + std::to_string(max_pixels) + " that are allowed");
    const bool on_its_side = format == ImageFormat::jpeg && exif_orientation(file) >= 5;
    return on_its_side ? ImageInfo{format, stored.height, stored.width}
                       : ImageInfo{format, stored.width, stored.height};
  });
}

Image decode_image(std::span<const uint8_t> file, const DecodeOptions& options) {
  const ImageFormat format = probe_image(file, options.max_pixels).format;
  return naming_format(format, [&] {
    Image stored = decode_stored(format, file, options.min_long_side);
    const int orientation = format == ImageFormat::jpeg ? exif_orientation(file) : 1;
    return orientation == 1 ? std::move(stored) : turn_upright(stored, orientation);
  });
}

}  // namespace tenfold
