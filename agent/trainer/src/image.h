#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace tenfold {

/// An image file that cannot be read: truncated, not an image, or larger than allowed.
class ImageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Readers of pixel pairs may touch so many bytes just past the last pixel; they weigh them with zero.
inline constexpr size_t kPixelSlack = 16;

/// Memory for pixels, borrowed from a pool of the process and given back on destruction. The pages of a freshly mapped
/// buffer fault on first touch, which costs up to six times the decoding itself; a pooled one has been touched before.
class PixelBuffer {
 public:
  PixelBuffer() = default;
  explicit PixelBuffer(size_t bytes);  // content undefined
  ~PixelBuffer();
  PixelBuffer(PixelBuffer&& other) noexcept;
  PixelBuffer& operator=(PixelBuffer&& other) noexcept;
  PixelBuffer(const PixelBuffer&) = delete;
  PixelBuffer& operator=(const PixelBuffer&) = delete;

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;      // bytes asked for
  size_t capacity_ = 0;  // bytes held, a size class of the pool
};

struct Rgb {
  uint8_t r = 0, g = 0, b = 0;
};

/// Padding of letterboxed pictures, as all YOLO tools use it.
inline constexpr Rgb kGrey{114, 114, 114};

/// Pixels that something else owns: RGB, 8 bits a channel, rows of 3*width bytes without gaps (HWC). Behind the last row
/// at least kPixelSlack bytes more can be read.
struct ImageView {
  int width = 0;
  int height = 0;
  const uint8_t* pixels = nullptr;

  size_t stride() const { return static_cast<size_t>(width) * 3; }  // bytes from row to row
  const uint8_t* row(int y) const { return pixels + static_cast<size_t>(y) * stride(); }
};

/// RGB, 8 bits a channel, rows of 3*width bytes without gaps (HWC).
struct Image {
  int width = 0;
  int height = 0;
  PixelBuffer pixels;

  Image() = default;
  Image(int width, int height);              // content undefined
  Image(int width, int height, Rgb colour);  // filled
  Image clone() const;

  bool empty() const { return width == 0 || height == 0; }
  ImageView view() const { return {width, height, pixels.data()}; }
  size_t stride() const { return static_cast<size_t>(width) * 3; }  // bytes from row to row
  uint8_t* row(int y) { return pixels.data() + static_cast<size_t>(y) * stride(); }
  const uint8_t* row(int y) const { return pixels.data() + static_cast<size_t>(y) * stride(); }
};

enum class ImageFormat { jpeg, png, webp };

/// What an image file's header says. Width and height are those of the picture as shown: EXIF orientation is applied,
/// as in the tools that the labels were drawn with.
struct ImageInfo {
  ImageFormat format = ImageFormat::jpeg;
  int width = 0;
  int height = 0;
};

/// The most pixels that a file may declare; a larger one is refused before anything is decoded.
inline constexpr int64_t kMaxPixels = 200'000'000;

/// Reads the header only. Throws ImageError.
ImageInfo probe_image(std::span<const uint8_t> file, int64_t max_pixels = kMaxPixels);

struct DecodeOptions {
  /// 0: full size. Else the picture may come out smaller, but its longer side not shorter than this: JPEG and WebP are
  /// then decoded at a reduced scale, which is cheaper. No exact size is promised: resize() afterwards.
  int min_long_side = 0;
  int64_t max_pixels = kMaxPixels;
};

/// Decodes JPEG, PNG or WebP to RGB. Grey, palette, CMYK and 16-bit pictures are converted; transparent ones are laid
/// over their own colour values (alpha is dropped), as YOLO tools read them. Throws ImageError: also for a truncated
/// file, of which no half picture is returned.
Image decode_image(std::span<const uint8_t> file, const DecodeOptions& options = {});

/// Resamples to exactly width x height: bilinear when enlarging, a triangle filter over the covered source pixels when
/// shrinking (no aliasing).
Image resize(const Image& source, int width, int height);

/// The longest side that libjpeg writes, in pixels.
inline constexpr int kMaxJpegSide = 65'500;

/// Throws ImageError for a picture with a side longer than kMaxJpegSide.
std::vector<uint8_t> encode_jpeg(const Image& image, int quality = 90);
std::vector<uint8_t> encode_png(const Image& image);

}  // namespace tenfold
