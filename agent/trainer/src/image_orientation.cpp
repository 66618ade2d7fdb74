// EXIF orientation: cameras store pictures as the sensor saw them and note how to turn them.
#include <cstring>
#include <optional>
#include <string_view>

#include "image_codec.h"

namespace tenfold {

namespace {

/// Reads numbers of a TIFF block in its own byte order; nothing beyond its end.
class Tiff {
 public:
  explicit Tiff(std::span<const uint8_t> bytes)
      : bytes_(bytes), little_endian_(bytes.size() >= 2 && bytes[0] == 'I' && bytes[1] == 'I') {}

  std::optional<uint32_t> u16(size_t at) const {
    if (bytes_.size() < 2 || at > bytes_.size() - 2) return std::nullopt;
    const uint32_t first = bytes_[at], second = bytes_[at + 1];
    return little_endian_ ? first | second << 8 : first << 8 | second;
  }

  std::optional<uint32_t> u32(size_t at) const {
    const auto first = u16(at), second = u16(at + 2);
    if (!first || !second) return std::nullopt;
    return little_endian_ ? *first | *second << 16 : *first << 16 | *second;
  }

 private:
  std::span<const uint8_t> bytes_;
  bool little_endian_;
};

constexpr uint32_t kOrientationTag = 0x0112;

int orientation_in(const Tiff& tiff) {
  const auto directory = tiff.u32(4);
  if (!directory) return 1;
  const auto entries = tiff.u16(*directory);
  for (size_t i = 0; entries && i < *entries; ++i) {
    const size_t entry = size_t{*directory} + 2 + 12 * i;
    const auto tag = tiff.u16(entry);
    if (!tag) return 1;
    if (*tag != kOrientationTag) continue;
    const auto value = tiff.u16(entry + 8);
    return value && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
  }
  return 1;
}

/// The body of the EXIF segment, which comes before the first scan; empty when there is none.
std::span<const uint8_t> exif_block(std::span<const uint8_t> jpeg) {
  using namespace std::string_view_literals;
  constexpr auto kExif = "Exif\0\0"sv;
  constexpr uint8_t kApp1 = 0xE1, kStartOfScan = 0xDA;
  for (size_t at = 2; at + 4 <= jpeg.size() && jpeg[at] == 0xFF && jpeg[at + 1] != kStartOfScan;) {
    if (jpeg[at + 1] == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    const size_t length = size_t{jpeg[at + 2]} << 8 | jpeg[at + 3];
    if (length < 2 || at + 2 + length > jpeg.size()) return {};
    const auto body = jpeg.subspan(at + 4, length - 2);
    if (jpeg[at + 1] == kApp1 && body.size() > kExif.size() &&
        std::memcmp(body.data(), kExif.data(), kExif.size()) == 0)
      return body.subspan(kExif.size());
    at += 2 + length;
  }
  return {};
}

}  // namespace

int exif_orientation(std::span<const uint8_t> jpeg) {
  const auto block = exif_block(jpeg);
  return block.empty() ? 1 : orientation_in(Tiff(block));
}

Image turn_upright(const Image& stored, int orientation) {
  const bool transpose = orientation >= 5;
  // Which of the stored picture's axes run backwards when the upright one is read row by row.
  const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image upright(transpose ? stored.height : stored.width, transpose ? stored.width : stored.height);
  for (int y = 0; y < upright.height; ++y) {
    uint8_t* out = upright.row(y);
    for (int x = 0; x < upright.width; ++x, out += 3) {
      int from_x = transpose ? y : x, from_y = transpose ? x : y;
      if (mirror_x) from_x = stored.width - 1 - from_x;
      if (mirror_y) from_y = stored.height - 1 - from_y;
      std::memcpy(out, stored.row(from_y) + 3 * from_x, 3);
    }
  }
  return upright;
}

}  // namespace tenfold
