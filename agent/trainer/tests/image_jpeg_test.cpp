// Baseline JPEGs: our Huffman decoder in libjpeg-turbo's place gives the library's own pictures, bit for bit.
#include <gtest/gtest.h>
#include <turbojpeg.h>

#include <cstdio>
// After cstdio, whose FILE it needs.
#include <jpeglib.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "image_jpeg_baseline.h"
#include "jpeg_huffman.h"
#include "rng.h"

namespace tenfold {
namespace {

using Bytes = std::vector<uint8_t>;

#if __has_include(<jpegint.h>)

struct Kind {
  int width = 64, height = 48;
  int quality = 90;
  int across = 2, down = 2;  // luminance samples for one of a colour
  bool grey = false;
  bool own_tables = false;  // Huffman tables for this file alone
  unsigned restart_rows = 0;
  bool progressive = false;
};

/// Smooth in one corner and noise in the other, so that long and short codes occur.
Image picture(int width, int height, int seed) {
  SampleRng rng(3, 0, seed);
  Image image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < 3 * width; ++x)
      image.row(y)[x] =
          static_cast<uint8_t>((x * 2 + y * 3 + rng.below(1 + 250 * (x / 3 + y) / (width + height))) % 256);
  return image;
}

Bytes jpeg_of(const Image& image, const Kind& kind) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, kind.quality, TRUE);
  if (kind.grey) jpeg_set_colorspace(&jpeg, JCS_GRAYSCALE);
  if (kind.progressive) jpeg_simple_progression(&jpeg);
  jpeg.comp_info[0].h_samp_factor = kind.across;
  jpeg.comp_info[0].v_samp_factor = kind.down;
  jpeg.optimize_coding = kind.own_tables ? TRUE : FALSE;
  jpeg.restart_in_rows = static_cast<int>(kind.restart_rows);
  jpeg_start_compress(&jpeg, TRUE);
  for (int y = 0; y < image.height; ++y) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(y));
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  Bytes file(data, data + size);
  jpeg_destroy_compress(&jpeg);
  std::free(data);
  return file;
}

Bytes jpeg_of(const Kind& kind, int seed = 0) {
  return jpeg_of(picture(kind.width, kind.height, seed), kind);
}

/// The library's own picture; none where it has anything to say against the file.
std::optional<Image> library_picture(const Bytes& file, ImageSize size) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitDecompress(), tjDestroy);
  Image image(size.width, size.height);
  const int status = tjDecompress2(handle.get(), file.data(), file.size(), image.pixels.data(), size.width, 0,
                                   size.height, TJPF_RGB, 0);
  if (status != 0) return std::nullopt;
  return image;
}

std::optional<ImageSize> size_of(const Bytes& file, int denominator) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitDecompress(), tjDestroy);
  int width = 0, height = 0, subsampling = 0, colours = 0;
  if (tjDecompressHeader3(handle.get(), file.data(), file.size(), &width, &height, &subsampling, &colours) != 0)
    return std::nullopt;
  const tjscalingfactor factor{1, denominator};
  return ImageSize{TJSCALED(width, factor), TJSCALED(height, factor)};
}

bool same_pixels(const Image& a, const Image& b) {
  return a.width == b.width && a.height == b.height &&
         std::equal(a.pixels.data(), a.pixels.data() + a.pixels.size(), b.pixels.data());
}

TEST(BaselineJpeg, EveryKindIsTheLibrarysPictureAtEveryScale) {
  int seed = 0;
  for (const auto& [across, down] :
       {std::pair(1, 1), std::pair(2, 1), std::pair(1, 2), std::pair(2, 2), std::pair(4, 1)})
    for (const int quality : {5, 60, 90, 100})
      for (const bool own_tables : {false, true})
        for (const unsigned restart_rows : {0U, 1U}) {
          Kind kind{.quality = quality,
                    .across = across,
                    .down = down,
                    .own_tables = own_tables,
                    .restart_rows = restart_rows};
          kind.width = 17 + 13 * (++seed % 9), kind.height = 11 + 17 * (seed % 7);
          const Bytes file = jpeg_of(kind, seed);
          for (const int denominator : {1, 2, 4, 8}) {
            const ImageSize size = size_of(file, denominator).value();
            const std::optional<Image> ours = decode_baseline_jpeg(file, size, denominator);
            ASSERT_TRUE(ours) << "seed " << seed << " 1/" << denominator;
            EXPECT_TRUE(same_pixels(*ours, library_picture(file, size).value()))
                << "seed " << seed << " 1/" << denominator;
          }
        }
}

TEST(BaselineJpeg, GreyIsReadToo) {
  const Bytes file = jpeg_of({.across = 1, .down = 1, .grey = true});
  const std::optional<Image> ours = decode_baseline_jpeg(file, {64, 48}, 1);
  ASSERT_TRUE(ours);
  EXPECT_TRUE(same_pixels(*ours, library_picture(file, {64, 48}).value()));
}

TEST(BaselineJpeg, ProgressiveOnesAreTheLibrarys) {
  EXPECT_FALSE(decode_baseline_jpeg(jpeg_of({.progressive = true}), {64, 48}, 1));
}

TEST(BaselineJpeg, AnotherSizeThanTheFilesIsNotWrittenTo) {
  EXPECT_FALSE(decode_baseline_jpeg(jpeg_of({}), {63, 48}, 1));
}

/// One to three bytes changed, gone or new.
void damage(Bytes& file, SampleRng& rng) {
  for (int64_t wounds = 1 + rng.below(3); wounds > 0; --wounds) {
    const auto at = file.begin() + rng.below(static_cast<int64_t>(file.size()));
    const auto byte = static_cast<uint8_t>(rng.below(256));
    switch (rng.below(4)) {
      case 0:
        *at = byte;
        break;
      case 1:
        file.erase(at);
        break;
      case 2:
        file.insert(at, byte);
        break;
      default:
        *at ^= static_cast<uint8_t>(1 << rng.below(8));
    }
  }
}

TEST(BaselineJpeg, ADamagedFileIsReadAsTheLibraryReadsItOrLeftToIt) {
  const std::vector<Bytes> sound{jpeg_of({}), jpeg_of({.quality = 100, .own_tables = true, .restart_rows = 1}),
                                 jpeg_of({.quality = 20, .across = 1, .down = 1})};
  int read = 0, left = 0;
  for (int seed = 0; seed < 3000; ++seed) {
    SampleRng rng(4, 0, seed);
    Bytes file = sound[static_cast<size_t>(seed) % sound.size()];
    damage(file, rng);
    const int denominator = 1 << rng.below(4);
    const std::optional<ImageSize> size = size_of(file, denominator);
    const int64_t pixels = size ? int64_t{size->width} * size->height : 0;
    if (pixels == 0 || pixels > 100'000) continue;
    const std::optional<Image> ours = decode_baseline_jpeg(file, *size, denominator);
    ++(ours ? read : left);
    if (!ours) continue;
    const std::optional<Image> theirs = library_picture(file, *size);
    ASSERT_TRUE(theirs) << "seed " << seed << ": the library has something against it";
    ASSERT_TRUE(same_pixels(*ours, *theirs)) << "seed " << seed;
  }
  EXPECT_GT(read, 100);  // some damage is none to the picture: in a comment, or only other coefficients
  EXPECT_GT(left, 100);
}

#else

TEST(BaselineJpeg, IsTheLibrarysWhereItsInnerHeaderIsMissing) {
  EXPECT_FALSE(decode_baseline_jpeg(encode_jpeg(Image(16, 16, kGrey)), {16, 16}, 1));
}

#endif

TEST(JpegHuffman, CodesAreTheCanonicalOnesOfTheStandard) {
  // T.81, table K.3: differences of the luminance's DC coefficient.
  DeclaredHuffmanTable declared{.codes_of_length = {0, 0, 1, 5, 1, 1, 1, 1, 1, 1}};
  for (uint8_t symbol = 0; symbol < 12; ++symbol) declared.symbols[symbol] = symbol;
  const HuffmanCode code(declared);
  const auto expect = [&](uint16_t bits, uint8_t value, uint8_t length) {
    EXPECT_EQ(code.first_symbol(bits).value, value) << bits;
    EXPECT_EQ(code.first_symbol(bits).length, length) << bits;
  };
  expect(0b0011'1111'1111'1111, 0, 2);
  expect(0b0100'0000'0000'0000, 1, 3);
  expect(0b1101'1111'1111'1111, 5, 3);
  expect(0b1110'0000'0000'0000, 6, 4);
  expect(0b1111'1111'0000'0000, 11, 9);
  expect(0b1111'1111'1111'1111, 0, 0);  // no code is all ones
}

TEST(JpegHuffman, AScanIsItsBytesWithoutStuffingUpToTheEnd) {
  const Bytes scan{1, 0xFF, 0, 2, 0xFF, 0xD0, 3, 0xFF, 0xD1, 0xFF, 0, 0xFF, 0xD9, 77};
  EntropyBytes entropy;
  ASSERT_TRUE(entropy.take(scan));
  EXPECT_EQ(entropy.interval_ends, (std::vector<size_t>{3, 4, 5}));
  EXPECT_EQ(Bytes(entropy.bytes.begin(), entropy.bytes.begin() + 6), (Bytes{1, 0xFF, 2, 3, 0xFF, 0}));
}

TEST(JpegHuffman, AScanThatDoesNotEndOrSkipsARestartIsNotTaken) {
  EntropyBytes entropy;
  EXPECT_FALSE(entropy.take(Bytes{1, 2, 3}));
  EXPECT_FALSE(entropy.take(Bytes{1, 2, 0xFF}));
  EXPECT_FALSE(entropy.take(Bytes{1, 0xFF, 0xD1, 2, 0xFF, 0xD9}));
  EXPECT_FALSE(entropy.take(Bytes{1, 0xFF, 0xDA, 2, 0xFF, 0xD9}));
  EXPECT_FALSE(entropy.take(Bytes{}));
}

}  // namespace
}  // namespace tenfold
