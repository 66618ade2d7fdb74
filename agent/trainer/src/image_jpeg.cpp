// JPEG through libjpeg-turbo's TurboJPEG interface; most files are decoded by image_jpeg_baseline.cpp.
#include <turbojpeg.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>

#include "image_codec.h"
#include "image_jpeg_baseline.h"

namespace tenfold {

namespace {

struct CloseTurbo {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Turbo = std::unique_ptr<void, CloseTurbo>;

Turbo& thread_decompressor() {
  thread_local Turbo handle;
  return handle;
}

void* decompressor() {
  Turbo& handle = thread_decompressor();
  if (handle == nullptr) handle.reset(tjInitDecompress());
  if (handle == nullptr) throw ImageError("no decompressor could be made");
  return handle.get();
}

/// A complete JPEG ends with the marker FF D9; some writers append a little of their own.
bool has_end_marker(std::span<const uint8_t> file) {
  constexpr std::array<uint8_t, 2> kEnd{0xFF, 0xD9};
  const auto tail = file.last(std::min<size_t>(file.size(), 4096));
  return std::search(tail.begin(), tail.end(), kEnd.begin(), kEnd.end()) != tail.end();
}

/// Warnings after which the picture is whole nevertheless: stray bytes between two segments, as some cameras write.
bool harmless(std::string_view warning, std::span<const uint8_t> file) {
  return warning.find("extraneous bytes before marker") != std::string_view::npos && has_end_marker(file);
}

/// Throws when a step of reading `file` failed. A decompressor that met a damaged file is not used again: with
/// libjpeg-turbo 2.1 it may report the next, sound picture as empty.
void check_decompressing(int status, std::span<const uint8_t> file) {
  if (status == 0) return;
  const std::string problem = tjGetErrorStr2(decompressor());
  if (tjGetErrorCode(decompressor()) == TJERR_WARNING && harmless(problem, file)) return;
  thread_decompressor().reset();
  throw ImageError(problem);
}

void* compressor() {
  thread_local const Turbo handle(tjInitCompress());
  if (handle == nullptr) throw ImageError("no compressor could be made");
  return handle.get();
}

struct Header {
  int width = 0, height = 0, subsampling = 0, colourspace = 0;
};

Header read_header(std::span<const uint8_t> file) {
  Header header;
  check_decompressing(tjDecompressHeader3(decompressor(), file.data(), file.size(), &header.width, &header.height,
                                          &header.subsampling, &header.colourspace),
                      file);
  return header;
}

struct Reduction {
  ImageSize size;
  int denominator = 1;
};

/// What to decode at: the smallest of 1, 1/2, 1/4, 1/8 whose longer side is not below `min_long_side`. The other
/// eighths that the library offers have no fast path.
Reduction reduction_of(const Header& header, int min_long_side) {
  Reduction reduction{{header.width, header.height}};
  if (min_long_side <= 0) return reduction;
  for (const int denominator : {2, 4, 8}) {
    const tjscalingfactor factor{1, denominator};
    const ImageSize smaller{TJSCALED(header.width, factor), TJSCALED(header.height, factor)};
    if (std::max(smaller.width, smaller.height) < min_long_side) break;
    reduction = {smaller, denominator};
  }
  return reduction;
}

void decompress(std::span<const uint8_t> file, ImageSize size, int pixel_format, uint8_t* out) {
  const int stride = size.width * tjPixelSize[pixel_format];
  check_decompressing(tjDecompress2(decompressor(), file.data(), file.size(), out, size.width, stride, size.height,
                                    pixel_format, TJFLAG_LIMITSCANS),
                      file);
}

/// CMYK as Adobe's programs write it in JPEG: inverted, so that each channel is multiplied by the black channel.
Image decompress_cmyk(std::span<const uint8_t> file, ImageSize size) {
  const size_t pixels = static_cast<size_t>(size.width) * static_cast<size_t>(size.height);
  PixelBuffer cmyk(pixels * 4);
  decompress(file, size, TJPF_CMYK, cmyk.data());
  Image image(size.width, size.height);
  const uint8_t* in = cmyk.data();
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < pixels; ++i, in += 4, out += 3)
    for (size_t c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>((in[c] * in[3] + 127) / 255);
  return image;
}

}  // namespace

ImageSize probe_jpeg(std::span<const uint8_t> file) {
  const Header header = read_header(file);
  return {header.width, header.height};
}

Image decode_jpeg(std::span<const uint8_t> file, int min_long_side) {
  const Header header = read_header(file);
  const auto [size, denominator] = reduction_of(header, min_long_side);
  if (std::optional<Image> image = decode_baseline_jpeg(file, size, denominator)) return *std::move(image);
  if (header.colourspace == TJCS_CMYK || header.colourspace == TJCS_YCCK) return decompress_cmyk(file, size);
  Image image(size.width, size.height);
  decompress(file, size, TJPF_RGB, image.pixels.data());
  return image;
}

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  constexpr int kSubsampling = TJSAMP_420;
  std::vector<uint8_t> file(tjBufSize(image.width, image.height, kSubsampling));
  unsigned char* data = file.data();
  unsigned long bytes = file.size();
  if (tjCompress2(compressor(), image.pixels.data(), image.width, 0, image.height, TJPF_RGB, &data, &bytes,
                  kSubsampling, quality, TJFLAG_NOREALLOC) != 0)
    throw ImageError(std::string("encoding a JPEG: ") + tjGetErrorStr2(compressor()));
  file.resize(bytes);
  return file;
}

}  // namespace tenfold
