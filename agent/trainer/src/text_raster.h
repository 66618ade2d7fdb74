#pragma once

#include <string_view>
#include <vector>

namespace tenfold {

/// A filled rectangle of a letter, in pixels from the text's top left corner: [left, right) x [top, bottom).
struct TextPixels {
  int left = 0, top = 0, right = 0, bottom = 0;
};

struct TextSize {
  int width = 0;
  int height = 0;
};

/// Size in pixels of one line of text at a whole-numbered `scale` (1: capitals seven pixels high).
TextSize text_size(std::string_view text, int scale);

/// The letters of one line of text. The font knows ASCII only: every other character becomes a question mark.
std::vector<TextPixels> rasterise_text(std::string_view text, int scale);

}  // namespace tenfold
