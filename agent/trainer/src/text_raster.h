#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace tenfold {

/// How much of every pixel one line of text covers, 0 to 255, in rows of `width`. The line begins at the left edge, but for
/// the little that a letter may hang over.
struct TextMask {
  int width = 0;   // pixels
  int height = 0;  // ascenders and descenders included, whatever the letters: lines of one size are equally high
  std::vector<uint8_t> coverage;

  uint8_t at(int x, int y) const { return coverage[static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)]; }
};

struct TextSize {
  int width = 0;
  int height = 0;
};

/// Size in pixels of one line of UTF-8 text whose font size is `size` pixels (capitals have 0.73 of it).
TextSize text_size(std::string_view text, double size);

/// The letters of one line of UTF-8 text. What the font does not have (it has the alphabets of Europe and the signs of
/// mathematics) and what is not UTF-8 becomes a question mark.
TextMask rasterise_text(std::string_view text, double size);

/// Whether UTF-8 text says something when it is drawn: the font has one of its letters or digits, or all of it.
bool is_legible(std::string_view text);

}  // namespace tenfold
