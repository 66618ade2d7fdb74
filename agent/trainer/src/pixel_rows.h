#pragma once

// The inner loops of the data path: rows of pixels. Each is written twice, plainly and with SSE4.1, and gives the same
// bytes either way (pixel_rows_test).

#include <cstdint>

namespace tenfold {

/// One row of a planar picture, or a part of it.
struct PlanarRow {
  uint8_t* r = nullptr;
  uint8_t* g = nullptr;
  uint8_t* b = nullptr;
  PlanarRow from(int x) const { return {r + x, g + x, b + x}; }
};

/// Where a sample lies between two neighbouring pixels of a line: the first one, and the weights of both in 1/256.
struct Between {
  int32_t first = 0;
  int16_t first_weight = 256;
  int16_t second_weight = 0;

  static Between at(int32_t first, int second_weight) {
    return {first, static_cast<int16_t>(256 - second_weight), static_cast<int16_t>(second_weight)};
  }
};

/// Interleaved RGB, `count` pixels, to planes.
void split_row(const uint8_t* rgb, int count, PlanarRow out);

/// Two rows of bytes mixed, `lower_weight` in 1/256: 7 fractional bits, with the half added that rounds in the end.
void blend_rows(const uint8_t* upper, const uint8_t* lower, int lower_weight, int count, uint16_t* blended);

/// What blend_rows() reads beyond the bytes asked for is none; pick_columns() reads up to this many values beyond the
/// pixel right of the last one that it needs.
inline constexpr int kBlendSlack = 8;

/// Samples of a row of blended RGB pixels: `columns` says between which, `count` of them.
void pick_columns(const uint16_t* blended, const Between* columns, int count, PlanarRow out);

/// A sample between 2x2 pixels: `upper` and `lower` point to the left ones; weights in 1/256.
struct Square {
  const uint8_t* upper = nullptr;
  const uint8_t* lower = nullptr;
  int16_t upper_weight = 256;
  int16_t lower_weight = 0;
  int16_t left_weight = 256;
  int16_t right_weight = 0;
};

/// Samples of RGB pixels. Reads up to five bytes beyond the last pixel of a picture, with weight zero.
void sample_squares(const Square* squares, int count, PlanarRow out);

/// Whether the vector versions are in use on this machine.
bool has_vector_rows();

/// The plain versions, for comparison.
namespace plain {
void split_row(const uint8_t* rgb, int count, PlanarRow out);
void pick_columns(const uint16_t* blended, const Between* columns, int count, PlanarRow out);
void sample_squares(const Square* squares, int count, PlanarRow out);
}  // namespace plain

}  // namespace tenfold
