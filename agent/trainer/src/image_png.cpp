// PNG through libspng.
#include <spng.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "image_codec.h"

namespace tenfold {

namespace {

struct FreeContext {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};
using Context = std::unique_ptr<spng_ctx, FreeContext>;

void check(int error) {
  if (error != 0) throw ImageError(spng_strerror(error));
}

// Text and colour profile chunks that a file may make the reader hold in memory.
constexpr size_t kMaxChunkBytes = size_t{8} << 20;
constexpr size_t kMaxChunksInAll = size_t{32} << 20;

Context open(std::span<const uint8_t> file) {
  Context context(spng_ctx_new(0));
  if (context == nullptr) throw std::bad_alloc();
  check(spng_set_chunk_limits(context.get(), kMaxChunkBytes, kMaxChunksInAll));
  check(spng_set_png_buffer(context.get(), file.data(), file.size()));
  return context;
}

ImageSize header_of(spng_ctx* context) {
  spng_ihdr header;
  check(spng_get_ihdr(context, &header));
  return {static_cast<int>(header.width), static_cast<int>(header.height)};
}

}  // namespace

ImageSize probe_png(std::span<const uint8_t> file) {
  return header_of(open(file).get());
}

Image decode_png(std::span<const uint8_t> file) {
  const Context context = open(file);
  const ImageSize size = header_of(context.get());
  Image image(size.width, size.height);
  check(spng_decode_image(context.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_RGB8, 0));
  return image;
}

std::vector<uint8_t> encode_png(const Image& image) {
  const Context context(spng_ctx_new(SPNG_CTX_ENCODER));
  if (context == nullptr) throw std::bad_alloc();
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.width);
  header.height = static_cast<uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  check(spng_set_ihdr(context.get(), &header));
  check(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1));
  check(spng_encode_image(context.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE));
  size_t bytes = 0;
  int error = 0;
  const std::unique_ptr<void, decltype(&std::free)> png(spng_get_png_buffer(context.get(), &bytes, &error), &std::free);
  check(error);
  const auto* data = static_cast<const uint8_t*>(png.get());
  return {data, data + bytes};
}

}  // namespace tenfold
