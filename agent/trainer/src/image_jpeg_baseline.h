#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "image_codec.h"

namespace tenfold {

/// A JPEG's picture as libjpeg-turbo makes it, bit for bit, in less time: its Huffman decoder is replaced
/// by ours (jpeg_huffman.h). `denominator` (1, 2, 4, 8) reduces the picture to `size`, which follows from the file.
/// Nothing for all but sound baseline files of Grey or YCbCr: those are for the library alone, which knows progressive
/// and unusual ones, and tells what is wrong with damaged ones.
std::optional<Image> decode_baseline_jpeg(std::span<const uint8_t> file, ImageSize size, int denominator);

}  // namespace tenfold
