#include "image.h"

#include <gtest/gtest.h>
#include <spng.h>
#include <turbojpeg.h>
#include <webp/encode.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "data_fixtures.h"
#include "image_codec.h"
#include "rng.h"

namespace tenfold {
namespace {

using Bytes = std::vector<uint8_t>;

Rgb pixel(const Image& image, int x, int y) {
  const uint8_t* p = image.row(y) + 3 * x;
  return {p[0], p[1], p[2]};
}

void expect_near(Rgb actual, Rgb expected, int tolerance) {
  EXPECT_NEAR(actual.r, expected.r, tolerance);
  EXPECT_NEAR(actual.g, expected.g, tolerance);
  EXPECT_NEAR(actual.b, expected.b, tolerance);
}

/// Left half red, right half blue.
Image two_halves(int width, int height) {
  return testing::scene(width, height, {{0, 0.25f, 0.5f, 0.5f, 1.0f}, {2, 0.75f, 0.5f, 0.5f, 1.0f}});
}

std::string failure_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const ImageError& error) {
    return error.what();
  }
  return "";
}

Bytes png_of(spng_color_type type, uint8_t depth, uint32_t width, uint32_t height, const Bytes& content) {
  spng_ctx* context = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_ihdr header{};
  header.width = width, header.height = height, header.bit_depth = depth,
  header.color_type = static_cast<uint8_t>(type);
  spng_set_ihdr(context, &header);
  spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
  if (type == SPNG_COLOR_TYPE_INDEXED) {
    spng_plte palette{};
    palette.n_entries = 2;
    palette.entries[1] = {10, 200, 30, 255};
    spng_set_plte(context, &palette);
  }
  EXPECT_EQ(spng_encode_image(context, content.data(), content.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
  size_t size = 0;
  int error = 0;
  auto* data = static_cast<uint8_t*>(spng_get_png_buffer(context, &size, &error));
  Bytes file(data, data + size);
  std::free(data);
  spng_ctx_free(context);
  return file;
}

Bytes webp_of(const Image& image) {
  uint8_t* data = nullptr;
  const size_t size =
      WebPEncodeLosslessRGB(image.pixels.data(), image.width, image.height, static_cast<int>(image.stride()), &data);
  Bytes file(data, data + size);
  WebPFree(data);
  return file;
}

Bytes lossy_webp_of(const Image& image) {
  uint8_t* data = nullptr;
  const size_t size =
      WebPEncodeRGB(image.pixels.data(), image.width, image.height, static_cast<int>(image.stride()), 90, &data);
  Bytes file(data, data + size);
  WebPFree(data);
  return file;
}

Bytes jpeg_of(int pixel_format, int subsampling, int width, int height, const Bytes& content, int flags = 0) {
  tjhandle handle = tjInitCompress();
  unsigned char* data = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(tjCompress2(handle, content.data(), width, 0, height, pixel_format, &data, &size, subsampling, 95, flags), 0);
  Bytes file(data, data + size);
  tjFree(data);
  tjDestroy(handle);
  return file;
}

/// Puts an EXIF segment with an orientation behind a JPEG's start marker.
Bytes with_orientation(const Bytes& jpeg, uint8_t orientation) {
  const Bytes segment{0xFF, 0xE1, 0,    34,   'E', 'x', 'i', 'f', 0, 0, 'M', 'M',         0, 42, 0, 0, 0, 8,
                      0,    1,    0x01, 0x12, 0,   3,   0,   0,   0, 1, 0,   orientation, 0, 0,  0, 0, 0, 0};
  Bytes file = jpeg;
  file.insert(file.begin() + 2, segment.begin(), segment.end());
  return file;
}

/// The checksum of PNG chunks (ISO 3309), bit by bit.
uint32_t crc32_of(std::span<const uint8_t> bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  return ~crc;
}

TEST(Image, PngKeepsEveryPixel) {
  const Image image = two_halves(31, 17);
  const Image decoded = decode_image(encode_png(image));
  ASSERT_EQ(decoded.width, 31);
  ASSERT_EQ(decoded.height, 17);
  EXPECT_TRUE(std::equal(image.pixels.data(), image.pixels.data() + image.pixels.size(), decoded.pixels.data()));
}

TEST(Image, JpegComesBackInItsColours) {
  const Image decoded = decode_image(encode_jpeg(two_halves(64, 40), 95));
  ASSERT_EQ(decoded.width, 64);
  expect_near(pixel(decoded, 10, 20), {255, 0, 0}, 6);
  expect_near(pixel(decoded, 54, 20), {0, 0, 255}, 6);
}

TEST(Image, WebpComesBackInItsColours) {
  const Bytes file = webp_of(two_halves(64, 40));
  const Image decoded = decode_image(file);
  expect_near(pixel(decoded, 10, 20), {255, 0, 0}, 0);
  const Image small = decode_image(file, {.min_long_side = 32});
  EXPECT_EQ(small.width, 32);
  EXPECT_EQ(small.height, 20);
  expect_near(pixel(small, 27, 10), {0, 0, 255}, 4);
}

TEST(Image, JpegIsDecodedAtTheScaleThatIsNeeded) {
  const Bytes file = encode_jpeg(two_halves(640, 480));
  const auto width_for = [&](int side) { return decode_image(file, {.min_long_side = side}).width; };
  EXPECT_EQ(width_for(0), 640);
  EXPECT_EQ(width_for(640), 640);
  EXPECT_EQ(width_for(321), 640);
  EXPECT_EQ(width_for(320), 320);
  EXPECT_EQ(width_for(100), 160);
  EXPECT_EQ(width_for(16), 80);
  expect_near(pixel(decode_image(file, {.min_long_side = 100}), 150, 60), {0, 0, 255}, 6);
}

TEST(Image, GreyPaletteAlphaAndSixteenBitsBecomeRgb) {
  expect_near(pixel(decode_image(png_of(SPNG_COLOR_TYPE_GRAYSCALE, 8, 2, 1, {77, 200})), 1, 0), {200, 200, 200}, 0);
  expect_near(pixel(decode_image(png_of(SPNG_COLOR_TYPE_INDEXED, 8, 2, 1, {0, 1})), 1, 0), {10, 200, 30}, 0);
  expect_near(pixel(decode_image(png_of(SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 8, 1, 1, {9, 8, 7, 0})), 0, 0), {9, 8, 7}, 0);
  const Bytes sixteen{0x00, 0x40, 0x00, 0x80, 0xFF, 0xFF};  // libspng takes samples in the machine's byte order
  expect_near(pixel(decode_image(png_of(SPNG_COLOR_TYPE_TRUECOLOR, 16, 1, 1, sixteen)), 0, 0), {64, 128, 255}, 1);
  expect_near(pixel(decode_image(jpeg_of(TJPF_GRAY, TJSAMP_GRAY, 8, 8, Bytes(64, 130))), 3, 3), {130, 130, 130}, 2);
}

TEST(Image, CmykJpegBecomesRgb) {
  Bytes content;
  for (int i = 0; i < 64; ++i) content.insert(content.end(), {255, 128, 0, 255});  // inverted, as Adobe writes it
  expect_near(pixel(decode_image(jpeg_of(TJPF_CMYK, TJSAMP_444, 8, 8, content)), 4, 4), {255, 128, 0}, 6);
}

TEST(Image, ExifOrientationTurnsThePictureUpright) {
  // Upright: red on the left, blue on the right. Stored as a camera held each way would have seen it.
  const Image upright = two_halves(32, 16);
  for (const int orientation : {1, 3, 6, 8}) {
    // Turning by the opposite orientation gives what the sensor saw.
    const int opposite = orientation == 6 ? 8 : orientation == 8 ? 6 : orientation;
    const Image stored = orientation == 1 ? upright.clone() : turn_upright(upright, opposite);
    const Bytes file = with_orientation(encode_jpeg(stored, 95), static_cast<uint8_t>(orientation));
    const ImageInfo info = probe_image(file);
    const Image decoded = decode_image(file);
    EXPECT_EQ(info.width, 32) << orientation;
    EXPECT_EQ(info.height, 16) << orientation;
    ASSERT_EQ(decoded.width, 32) << orientation;
    expect_near(pixel(decoded, 4, 8), {255, 0, 0}, 8);
    expect_near(pixel(decoded, 28, 8), {0, 0, 255}, 8);
  }
}

TEST(Image, EveryOrientationIsTheOneOfTheExifTable) {
  // 2x1: a is left of b. Where the stored picture's left pixel goes, by orientation (EXIF 2.32, table 6 "Orientation").
  const Image stored = two_halves(2, 1);
  const auto red_at = [&](int orientation, int x, int y) {
    const Image turned = turn_upright(stored, orientation);
    EXPECT_EQ(turned.width, orientation >= 5 ? 1 : 2);
    EXPECT_EQ(pixel(turned, x, y).r, 255) << orientation;
  };
  red_at(2, 1, 0);
  red_at(3, 1, 0);
  red_at(4, 0, 0);
  red_at(5, 0, 0);
  red_at(6, 0, 0);  // rotated clockwise: the left end goes up
  red_at(7, 0, 1);
  red_at(8, 0, 1);  // counter-clockwise: the left end goes down
}

TEST(Image, NonsenseInExifIsIgnored) {
  for (const uint8_t orientation : {0, 9, 255}) {
    const Bytes file = with_orientation(encode_jpeg(two_halves(32, 16)), orientation);
    EXPECT_EQ(probe_image(file).width, 32);
  }
  Bytes cut = with_orientation(encode_jpeg(two_halves(32, 16)), 6);
  cut[21] = 0xFF;  // the directory claims more entries than there are bytes
  EXPECT_NO_THROW(decode_image(cut));
}

TEST(Image, TruncatedFilesAreRefusedAtEveryLength) {
  const Image image = two_halves(64, 64);
  constexpr size_t kTrailer = 24;  // checksums and end marks: without them the picture may still be whole
  for (const Bytes& file : {encode_jpeg(image), encode_png(image), webp_of(image)})
    for (size_t length = 0; length + kTrailer < file.size(); length += 7) {
      const auto cut = std::span(file).first(length);
      EXPECT_THROW(decode_image(cut), ImageError) << length << " of " << file.size();
    }
}

TEST(Image, StrayBytesBetweenSegmentsDoNoHarm) {
  Bytes file = encode_jpeg(two_halves(64, 64), 95);
  const size_t first_segment_end = 4 + (size_t{file[4]} << 8 | file[5]);
  file.insert(file.begin() + static_cast<std::ptrdiff_t>(first_segment_end), {0, 0, 0});
  expect_near(pixel(decode_image(file), 54, 20), {0, 0, 255}, 6);
  // But they do not excuse a missing end.
  EXPECT_THROW(decode_image(std::span(file).first(file.size() - 10)), ImageError);
}

TEST(Image, ASoundJpegIsReadAfterDamagedOnes) {
  const Bytes sound = encode_jpeg(two_halves(64, 64));
  for (size_t length = 4; length < sound.size(); ++length) {
    EXPECT_NE(failure_of([&] { decode_image(std::span(sound).first(length)); }), "") << length;
    EXPECT_EQ(failure_of([&] { EXPECT_EQ(decode_image(sound).width, 64); }), "") << length;
  }
}

/// Pictures of every kind that is read, small.
std::vector<Bytes> sound_files() {
  const Image image = two_halves(48, 40);
  const Bytes rgb(image.pixels.data(), image.pixels.data() + image.pixels.size());
  return {encode_jpeg(image),
          jpeg_of(TJPF_RGB, TJSAMP_444, 48, 40, rgb, TJFLAG_PROGRESSIVE),
          jpeg_of(TJPF_GRAY, TJSAMP_GRAY, 48, 40, Bytes(48 * 40, 99)),
          jpeg_of(TJPF_CMYK, TJSAMP_444, 48, 30, Bytes(4 * 48 * 30, 200)),
          with_orientation(encode_jpeg(image), 6),
          encode_png(image),
          png_of(SPNG_COLOR_TYPE_INDEXED, 8, 48, 40, Bytes(48 * 40, 1)),
          png_of(SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, 16, 48, 40, Bytes(4 * 48 * 40, 7)),
          webp_of(image),
          lossy_webp_of(image)};
}

/// Decodes what may be anything; the picture, if there is one, must be all there.
void expect_a_picture_or_an_error(const Bytes& file) {
  for (const int min_long_side : {0, 20}) {
    try {
      const Image image = decode_image(file, {.min_long_side = min_long_side, .max_pixels = 1'000'000});
      EXPECT_GT(image.width, 0);
      EXPECT_EQ(image.pixels.size(), image.stride() * static_cast<size_t>(image.height));
    } catch (const ImageError& error) {
      EXPECT_STRNE(error.what(), "");
    }
  }
}

TEST(Image, GarbageNeverCrashes) {
  for (const Bytes& sound : sound_files()) {
    expect_a_picture_or_an_error(sound);
    for (int seed = 0; seed < 300; ++seed) {
      SampleRng rng(1, 0, seed);
      Bytes file = sound;
      for (int64_t flips = rng.below(6) + 1; flips > 0; --flips)
        file[static_cast<size_t>(rng.below(static_cast<int64_t>(file.size())))] ^= static_cast<uint8_t>(rng.below(255) + 1);
      if (rng.chance(0.3)) file.resize(static_cast<size_t>(rng.below(static_cast<int64_t>(file.size()) + 1)));
      expect_a_picture_or_an_error(file);
    }
  }
}

TEST(Image, MoreDeclaredPixelsThanAllowedAreRefusedBeforeDecoding) {
  const Bytes file = encode_png(two_halves(100, 100));
  EXPECT_NE(failure_of([&] { decode_image(file, {.max_pixels = 9999}); }).find("100x100"), std::string::npos);
  EXPECT_NO_THROW(decode_image(file, {.max_pixels = 10'000}));
}

/// What decode_image() says of a file that declares more than it may.
void expect_bomb(const Bytes& file, const std::string& size) {
  EXPECT_LT(file.size(), 2000U);
  const std::string failure = failure_of([&] { decode_image(file); });
  EXPECT_TRUE(testing::mentions(failure, "declares " + size + " pixels, more than the 200000000")) << failure;
  EXPECT_EQ(failure_of([&] { probe_image(file); }), failure);
}

TEST(Image, ADecompressionBombIsRefusedByWhatItDeclares) {
  const Image small = two_halves(16, 16);

  Bytes png = encode_png(small);  // width and height: big-endian, behind the IHDR chunk's name
  const Bytes side{0, 0, 0xEA, 0x60};
  std::copy(side.begin(), side.end(), png.begin() + 16);
  std::copy(side.begin(), side.end(), png.begin() + 20);
  const uint32_t checksum = crc32_of(std::span(png).subspan(12, 17));
  for (size_t i = 0; i < 4; ++i) png[29 + i] = static_cast<uint8_t>(checksum >> (24 - 8 * i));
  expect_bomb(png, "60000x60000");

  Bytes jpeg = encode_jpeg(small);  // height and width, behind the start-of-frame segment's length and precision
  constexpr uint8_t kStartOfFrame[]{0xFF, 0xC0};
  const auto frame = std::search(jpeg.begin(), jpeg.end(), std::begin(kStartOfFrame), std::end(kStartOfFrame));
  for (const int at : {5, 7}) frame[at] = 0xFD, frame[at + 1] = 0xE8;
  expect_bomb(jpeg, "65000x65000");

  Bytes webp = lossy_webp_of(small);  // 14 bits each, behind the key frame's start code; the most is 16383
  for (const size_t at : {26U, 28U}) webp[at] = 0xFF, webp[at + 1] = 0x3F;
  expect_bomb(webp, "16383x16383");
}

TEST(Image, ProgressiveAndUnusualJpegsAreRead) {
  const Image image = two_halves(64, 40);
  const Bytes rgb(image.pixels.data(), image.pixels.data() + image.pixels.size());
  for (const int subsampling : {TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_440, TJSAMP_411})
    for (const int flags : {0, TJFLAG_PROGRESSIVE}) {
      const Image decoded = decode_image(jpeg_of(TJPF_RGB, subsampling, 64, 40, rgb, flags), {.min_long_side = 32});
      EXPECT_EQ(decoded.width, 32);
      expect_near(pixel(decoded, 4, 10), {255, 0, 0}, 12);
      expect_near(pixel(decoded, 28, 10), {0, 0, 255}, 12);
    }
}

TEST(Image, AlphaInWebpIsDropped) {
  const Bytes rgba{10, 200, 30, 0, 10, 200, 30, 255};
  WebPConfig config;
  WebPConfigInit(&config);
  config.lossless = 1, config.exact = 1;  // keeps the colour of what is transparent
  WebPPicture picture;
  WebPPictureInit(&picture);
  picture.use_argb = 1, picture.width = 2, picture.height = 1;
  WebPPictureImportRGBA(&picture, rgba.data(), 8);
  WebPMemoryWriter writer;
  WebPMemoryWriterInit(&writer);
  picture.writer = WebPMemoryWrite, picture.custom_ptr = &writer;
  ASSERT_TRUE(WebPEncode(&config, &picture));
  const Image decoded = decode_image(std::span(writer.mem, writer.size));
  expect_near(pixel(decoded, 0, 0), {10, 200, 30}, 0);
  expect_near(pixel(decoded, 1, 0), {10, 200, 30}, 0);
  WebPMemoryWriterClear(&writer);
  WebPPictureFree(&picture);
}

TEST(Image, AnAnimationIsNoPicture) {
  // An extended header whose animation flag is set, 16x16, without frames.
  const Bytes file{'R', 'I', 'F', 'F', 22, 0, 0, 0, 'W', 'E', 'B', 'P', 'V', 'P', '8',
                   'X', 10,  0,   0,   0,  2, 0, 0, 0,   15,  0,   0,   15,  0,   0};
  const std::string failure = failure_of([&] { decode_image(file); });
  EXPECT_TRUE(testing::mentions(failure, "WebP: an animation, not a picture")) << failure;
}

TEST(Image, FailuresSayWhatTheFileIs) {
  EXPECT_EQ(failure_of([] { decode_image({}); }), "the file is empty or missing");
  EXPECT_EQ(failure_of([] { decode_image(Bytes{'G', 'I', 'F', '8', '9'}); }), "not a JPEG, PNG or WebP file");
  const Bytes file = encode_jpeg(two_halves(64, 64));
  EXPECT_EQ(failure_of([&] { decode_image(std::span(file).first(300)); }).substr(0, 6), "JPEG: ");
}

TEST(Resize, KeepsAFlatColourAndTheMean) {
  const Image flat(37, 23, {200, 100, 7});
  for (const auto& [width, height] : {std::pair{10, 10}, {37, 5}, {80, 61}, {1, 1}}) {
    const Image resized = resize(flat, width, height);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) expect_near(pixel(resized, x, y), {200, 100, 7}, 0);
  }
  const Image halves = resize(two_halves(64, 64), 1, 1);
  expect_near(pixel(halves, 0, 0), {128, 0, 128}, 2);
}

TEST(Resize, EnlargesBilinearly) {
  const Image enlarged = resize(two_halves(2, 1), 8, 1);
  // Output pixel i lies at (i + 0.5) / 4 - 0.5 source pixels: the red share falls from 1 to 0 between 0 and 1.
  for (int x = 0; x < 8; ++x) {
    const double share = 1 - std::clamp((x + 0.5) / 4 - 0.5, 0.0, 1.0);
    EXPECT_NEAR(pixel(enlarged, x, 0).r, 255 * share, 1) << x;
  }
}

TEST(PixelPool, MovedFromImagesAreEmptyAndMemoryIsUsedAgain) {
  const uint8_t* first = nullptr;
  {
    Image image(300, 200);
    first = image.pixels.data();
    const Image taken = std::move(image);
    EXPECT_EQ(taken.pixels.data(), first);
    EXPECT_EQ(image.pixels.data(), nullptr);
  }
  const Image again(300, 200);
  EXPECT_EQ(again.pixels.data(), first);
}

}  // namespace
}  // namespace tenfold
