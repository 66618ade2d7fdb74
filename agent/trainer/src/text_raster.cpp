#include "text_raster.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <stdexcept>

#include "font.h"

#define STB_TRUETYPE_IMPLEMENTATION
#define STBTT_STATIC
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb_truetype.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace tenfold {

namespace {

/// What stands for a character that is malformed or steers, as the font does not have it.
constexpr char32_t kNoCharacter = 0xFFFD;

stbtt_fontinfo read_font() {
  stbtt_fontinfo info{};
  const auto file = embedded_font();
  if (stbtt_InitFont(&info, file.data(), 0) == 0) throw std::logic_error("the embedded font cannot be read");
  return info;
}

/// 0 where the font has none.
int find_glyph(const stbtt_fontinfo& info, char32_t character) {
  return character == kNoCharacter ? 0 : stbtt_FindGlyphIndex(&info, static_cast<int>(character));
}

/// The font, and its scale for one size.
struct SizedFont {
  stbtt_fontinfo info = read_font();
  float scale = 1;
  int ascent = 0;  // pixels, of every line
  int height = 0;

  explicit SizedFont(double size) {
    scale = stbtt_ScaleForMappingEmToPixels(&info, static_cast<float>(size));
    int above = 0, below = 0, gap = 0;
    stbtt_GetFontVMetrics(&info, &above, &below, &gap);
    ascent = static_cast<int>(std::ceil(static_cast<float>(above) * scale));
    height = ascent + static_cast<int>(std::ceil(static_cast<float>(-below) * scale));
  }

  int glyph_of(char32_t character) const {
    const int glyph = find_glyph(info, character);
    return glyph != 0 ? glyph : find_glyph(info, U'?');
  }
};

/// Decodes one character of UTF-8 and moves `text` behind it. What is malformed is kNoCharacter for each byte.
char32_t next_character(std::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 0;
  char32_t character = length == 1 ? first : first & (0x7FU >> length);
  bool good = length > 0 && length <= text.size() && first < 0xF5;
  for (size_t i = 1; good && i < length; ++i) {
    good = (byte(i) & 0xC0U) == 0x80;
    character = character << 6U | (byte(i) & 0x3FU);
  }
  text.remove_prefix(good ? length : 1);
  return good && character >= 0x20 && character != 0x7F ? character : kNoCharacter;
}

/// Letters, digits and signs that say something by themselves: neither punctuation nor what changes another character.
bool says_something(char32_t character) {
  if (character < 0x80) return std::isalnum(static_cast<int>(character)) != 0;
  const bool punctuation = character < 0xC0 || (character >= 0x2000 && character < 0x2070);
  const bool selector = character >= 0xFE00 && character < 0xFE10;  // of a character's variants
  return !punctuation && !selector;
}

struct PlacedGlyph {
  int glyph;
  float x;  // pixels from the line's left end
};

struct Line {
  std::vector<PlacedGlyph> glyphs;
  int width = 0;
};

Line set_line(const SizedFont& font, std::string_view text) {
  Line line;
  float x = 0;
  int before = -1;
  while (!text.empty()) {
    const int glyph = font.glyph_of(next_character(text));
    if (before >= 0) x += font.scale * static_cast<float>(stbtt_GetGlyphKernAdvance(&font.info, before, glyph));
    line.glyphs.push_back({glyph, x});
    int advance = 0, bearing = 0;
    stbtt_GetGlyphHMetrics(&font.info, glyph, &advance, &bearing);
    x += font.scale * static_cast<float>(advance);
    before = glyph;
  }
  line.width = static_cast<int>(std::ceil(x));
  return line;
}

/// Adds one letter to the mask; where letters touch, the darker counts.
void put_glyph(TextMask& mask, const SizedFont& font, const PlacedGlyph& placed) {
  const float whole = std::floor(placed.x);
  int width = 0, height = 0, left = 0, top = 0;
  unsigned char* bitmap = stbtt_GetGlyphBitmapSubpixel(&font.info, font.scale, font.scale, placed.x - whole, 0, placed.glyph,
                                                       &width, &height, &left, &top);
  if (bitmap == nullptr) return;  // a space
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const int column = static_cast<int>(whole) + left + x, row = font.ascent + top + y;
      if (column < 0 || column >= mask.width || row < 0 || row >= mask.height) continue;
      uint8_t& pixel = mask.coverage[static_cast<size_t>(row) * static_cast<size_t>(mask.width) + static_cast<size_t>(column)];
      pixel = std::max(pixel, bitmap[y * width + x]);
    }
  stbtt_FreeBitmap(bitmap, nullptr);
}

}  // namespace

bool is_legible(std::string_view text) {
  const stbtt_fontinfo font = read_font();
  bool whole = true;
  while (!text.empty()) {
    const char32_t character = next_character(text);
    const bool drawn = find_glyph(font, character) != 0;
    if (drawn && says_something(character)) return true;
    whole = whole && drawn;
  }
  return whole;
}

TextSize text_size(std::string_view text, double size) {
  const SizedFont font(size);
  return {set_line(font, text).width, font.height};
}

TextMask rasterise_text(std::string_view text, double size) {
  const SizedFont font(size);
  const Line line = set_line(font, text);
  TextMask mask{line.width, font.height, std::vector<uint8_t>(static_cast<size_t>(line.width) * static_cast<size_t>(font.height))};
  for (const PlacedGlyph& placed : line.glyphs) put_glyph(mask, font, placed);
  return mask;
}

}  // namespace tenfold
