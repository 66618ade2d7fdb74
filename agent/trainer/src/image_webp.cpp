// WebP through libwebp.
#include <webp/decode.h>

#include <algorithm>

#include "image_codec.h"

namespace tenfold {

namespace {

const char* describe(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    case VP8_STATUS_BITSTREAM_ERROR:
      return "damaged";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "uses a feature that libwebp does not support";
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "truncated";
    default:
      return "cannot be decoded";
  }
}

void check(VP8StatusCode status) {
  if (status != VP8_STATUS_OK) throw ImageError(describe(status));
}

}  // namespace

ImageSize probe_webp(std::span<const uint8_t> file) {
  WebPBitstreamFeatures features;
  check(WebPGetFeatures(file.data(), file.size(), &features));
  if (features.has_animation != 0) throw ImageError("an animation, not a picture");
  return {features.width, features.height};
}

Image decode_webp(std::span<const uint8_t> file, int min_long_side) {
  const ImageSize stored = probe_webp(file);
  ImageSize size = stored;
  const int long_side = std::max(stored.width, stored.height);

  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) throw ImageError("libwebp is of another version than its header");
  if (min_long_side > 0 && long_side >= 2 * min_long_side) {
    const auto scaled = [&](int side) {
      return std::max(1, static_cast<int>(int64_t{side} * min_long_side / long_side));
    };
    size = {scaled(stored.width), scaled(stored.height)};
    config.options.use_scaling = 1;
    config.options.scaled_width = size.width;
    config.options.scaled_height = size.height;
  }
  Image image(size.width, size.height);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image.pixels.data();
  config.output.u.RGBA.stride = static_cast<int>(image.stride());
  config.output.u.RGBA.size = image.pixels.size();
  check(WebPDecode(file.data(), file.size(), &config));
  return image;
}

}  // namespace tenfold
