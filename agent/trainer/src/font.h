// The font that is part of the binary.
#pragma once

#include <cstdint>
#include <span>

namespace tenfold {

/// DejaVu Sans, a TrueType file, as the build found it (TENFOLD_FONT).
std::span<const uint8_t> embedded_font();

}  // namespace tenfold
