#include "text_raster.h"

#include <stb_easy_font.h>

#include <array>
#include <cmath>
#include <span>
#include <string>

namespace tenfold {

namespace {

constexpr int kLineHeight = 10;  // of the font: capitals, and descenders below

/// The font's tables end at ASCII; a UTF-8 sequence counts as one character.
std::string printable(std::string_view text) {
  std::string ascii;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 && byte < 0xC0) continue;  // continuation of a UTF-8 sequence
    ascii.push_back(byte >= 0x20 && byte < 0x7F ? c : '?');
  }
  return ascii;
}

/// As stb_easy_font writes it into its buffer.
struct Vertex {
  float x, y, z;
  std::array<unsigned char, 4> colour;
};
using Quad = std::array<Vertex, 4>;

}  // namespace

TextSize text_size(std::string_view text, int scale) {
  std::string line = printable(text);
  return {stb_easy_font_width(line.data()) * scale, kLineHeight * scale};
}

std::vector<TextPixels> rasterise_text(std::string_view text, int scale) {
  std::string line = printable(text);
  // "~270 bytes a character" on average says the font; no glyph has more than a few dozen strokes.
  constexpr size_t kMostQuadsPerCharacter = 40;
  std::vector<Quad> quads(kMostQuadsPerCharacter * line.size() + 1);
  const int count =
      stb_easy_font_print(0, 0, line.data(), nullptr, quads.data(), static_cast<int>(quads.size() * sizeof(Quad)));
  std::vector<TextPixels> parts;
  const auto pixel = [&](float coordinate) { return static_cast<int>(std::lround(coordinate)) * scale; };
  for (const Quad& quad : std::span(quads).first(static_cast<size_t>(count)))
    parts.push_back({pixel(quad[0].x), pixel(quad[0].y), pixel(quad[2].x), pixel(quad[2].y)});
  return parts;
}

}  // namespace tenfold
