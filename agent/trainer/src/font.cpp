#include "font.h"

// The assembler copies the file: a compiler would take seconds over 750,000 numbers. TENFOLD_FONT is its path.
asm(R"(
  .pushsection .rodata
  .global tenfold_font_begin
  .global tenfold_font_end
tenfold_font_begin:
  .incbin ")" TENFOLD_FONT R"("
tenfold_font_end:
  .popsection
)");

extern "C" {
extern const uint8_t tenfold_font_begin[];
extern const uint8_t tenfold_font_end[];
}

namespace tenfold {

std::span<const uint8_t> embedded_font() { return {tenfold_font_begin, tenfold_font_end}; }

}  // namespace tenfold
