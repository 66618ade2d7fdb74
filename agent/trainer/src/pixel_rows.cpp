#include "pixel_rows.h"

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define TENFOLD_SSE41 1
#include <immintrin.h>
#endif

namespace tenfold {

namespace {

constexpr int kHalf = 64;  // of a level, with blend_rows()' 7 fractional bits: rounds when the sum is cut off

uint8_t mix(int left, int right, int left_weight, int right_weight) {
  return static_cast<uint8_t>((left * left_weight + right * right_weight) >> 15);
}

/// At most 255 * 128 + 64: it fits the signed 16 bits that are multiplied by pairs.
uint16_t blend(uint8_t upper, uint8_t lower, uint16_t upper_weight, uint16_t lower_weight) {
  const auto sum = static_cast<uint16_t>(static_cast<uint16_t>(upper * upper_weight) +
                                         static_cast<uint16_t>(lower * lower_weight) + 2 * kHalf + 1);
  return static_cast<uint16_t>(sum >> 1);
}

}  // namespace

void blend_rows(const uint8_t* upper, const uint8_t* lower, int lower_weight, int count, uint16_t* blended) {
  const auto lower_share = static_cast<uint16_t>(lower_weight), upper_share = static_cast<uint16_t>(256 - lower_weight);
  for (int i = 0; i < count; ++i) blended[i] = blend(upper[i], lower[i], upper_share, lower_share);
}

namespace plain {

void split_row(const uint8_t* rgb, int count, PlanarRow out) {
  for (int x = 0; x < count; ++x) {
    out.r[x] = rgb[3 * x];
    out.g[x] = rgb[3 * x + 1];
    out.b[x] = rgb[3 * x + 2];
  }
}

void pick_columns(const uint16_t* blended, const Between* columns, int count, PlanarRow out) {
  for (int x = 0; x < count; ++x) {
    const uint16_t* left = blended + 3 * columns[x].first;
    const int first = columns[x].first_weight, second = columns[x].second_weight;
    out.r[x] = mix(left[0], left[3], first, second);
    out.g[x] = mix(left[1], left[4], first, second);
    out.b[x] = mix(left[2], left[5], first, second);
  }
}

void sample_squares(const Square* squares, int count, PlanarRow out) {
  for (int x = 0; x < count; ++x) {
    const Square& square = squares[x];
    const auto at = [&](int i) {
      return blend(square.upper[i], square.lower[i], static_cast<uint16_t>(square.upper_weight),
                   static_cast<uint16_t>(square.lower_weight));
    };
    out.r[x] = mix(at(0), at(3), square.left_weight, square.right_weight);
    out.g[x] = mix(at(1), at(4), square.left_weight, square.right_weight);
    out.b[x] = mix(at(2), at(5), square.left_weight, square.right_weight);
  }
}

}  // namespace plain

#ifdef TENFOLD_SSE41

namespace {

#define TENFOLD_TARGET __attribute__((target("sse4.1")))

constexpr int kStep = 16;  // pixels

TENFOLD_TARGET inline __m128i load(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

TENFOLD_TARGET inline void store(uint8_t* to, __m128i bytes) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
}

/// Two 16-bit weights that lie next to each other, four times.
TENFOLD_TARGET inline __m128i weights_at(const int16_t* first) {
  int32_t both;
  std::memcpy(&both, first, sizeof both);
  return _mm_set1_epi32(both);
}

/// left0 left1 left2 right0 right1 right2 (16 bits each) -> three pairs, mixed and without fractional bits (32 bits).
TENFOLD_TARGET inline __m128i mix_pairs(__m128i pixels, __m128i weights) {
  const __m128i order = _mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1);
  return _mm_srli_epi32(_mm_madd_epi16(_mm_shuffle_epi8(pixels, order), weights), 15);
}

/// Four pixels of 32-bit channels to rrrr gggg bbbb.
TENFOLD_TARGET inline __m128i gather_channels(__m128i a, __m128i b, __m128i c, __m128i d) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm_shuffle_epi8(_mm_packus_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d)), order);
}

/// Four times rrrr gggg bbbb to the planes.
TENFOLD_TARGET inline void store_planes(const __m128i (&groups)[4], PlanarRow out) {
  const __m128i rg_low = _mm_unpacklo_epi32(groups[0], groups[1]), rg_high = _mm_unpacklo_epi32(groups[2], groups[3]);
  const __m128i b_low = _mm_unpackhi_epi32(groups[0], groups[1]), b_high = _mm_unpackhi_epi32(groups[2], groups[3]);
  store(out.r, _mm_unpacklo_epi64(rg_low, rg_high));
  store(out.g, _mm_unpackhi_epi64(rg_low, rg_high));
  store(out.b, _mm_unpacklo_epi64(b_low, b_high));
}

/// Shuffles by plane and by register of 16 bytes: which of its bytes are samples 0..15 of the plane.
using Orders = std::array<std::array<std::array<int8_t, 16>, 3>, 3>;

constexpr Orders split_orders() {
  Orders orders{};
  for (int plane = 0; plane < 3; ++plane)
    for (int part = 0; part < 3; ++part)
      for (int i = 0; i < 16; ++i) {
        const int at = 3 * i + plane - 16 * part;
        orders[static_cast<size_t>(plane)][static_cast<size_t>(part)][static_cast<size_t>(i)] =
            static_cast<int8_t>(at >= 0 && at < 16 ? at : -1);
      }
  return orders;
}

alignas(16) constexpr Orders kSplitOrders = split_orders();

TENFOLD_TARGET inline __m128i plane_of(const __m128i (&rgb)[3], size_t plane) {
  const auto& orders = kSplitOrders[plane];
  return _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(rgb[0], load(orders[0].data())),
                                   _mm_shuffle_epi8(rgb[1], load(orders[1].data()))),
                      _mm_shuffle_epi8(rgb[2], load(orders[2].data())));
}

TENFOLD_TARGET void split_16(const uint8_t* rgb, PlanarRow out) {
  const __m128i bytes[3]{load(rgb), load(rgb + 16), load(rgb + 32)};
  store(out.r, plane_of(bytes, 0));
  store(out.g, plane_of(bytes, 1));
  store(out.b, plane_of(bytes, 2));
}

TENFOLD_TARGET inline __m128i pick(const uint16_t* blended, const Between& column) {
  return mix_pairs(load(blended + 3 * column.first), weights_at(&column.first_weight));
}

TENFOLD_TARGET inline __m128i pick_4(const uint16_t* blended, const Between* columns) {
  return gather_channels(pick(blended, columns[0]), pick(blended, columns[1]), pick(blended, columns[2]),
                         pick(blended, columns[3]));
}

TENFOLD_TARGET void pick_16(const uint16_t* blended, const Between* columns, PlanarRow out) {
  store_planes({pick_4(blended, columns), pick_4(blended, columns + 4), pick_4(blended, columns + 8),
                pick_4(blended, columns + 12)},
               out);
}

/// Six channels, two of them neighbours that are not used, as 16-bit numbers.
TENFOLD_TARGET inline __m128i two_pixels(const uint8_t* from) {
  return _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}

TENFOLD_TARGET inline __m128i sample(const Square& square) {
  const __m128i upper = _mm_mullo_epi16(two_pixels(square.upper), _mm_set1_epi16(square.upper_weight));
  const __m128i lower = _mm_mullo_epi16(two_pixels(square.lower), _mm_set1_epi16(square.lower_weight));
  const __m128i sum = _mm_add_epi16(_mm_add_epi16(upper, lower), _mm_set1_epi16(2 * kHalf + 1));
  return mix_pairs(_mm_srli_epi16(sum, 1), weights_at(&square.left_weight));
}

TENFOLD_TARGET inline __m128i sample_4(const Square* squares) {
  return gather_channels(sample(squares[0]), sample(squares[1]), sample(squares[2]), sample(squares[3]));
}

TENFOLD_TARGET void sample_16(const Square* squares, PlanarRow out) {
  store_planes({sample_4(squares), sample_4(squares + 4), sample_4(squares + 8), sample_4(squares + 12)}, out);
}

/// Runs `step(x)` so that steps of 16 pixels cover 0..count; the last one may do some again. count >= 16.
template <typename Step>
void cover(int count, Step step) {
  for (int x = 0; x + kStep <= count; x += kStep) step(x);
  if (count % kStep != 0) step(count - kStep);
}

bool vectors_for(int count) {
  static const bool kSupported = __builtin_cpu_supports("sse4.1") != 0;
  return kSupported && count >= kStep;
}

}  // namespace

bool has_vector_rows() {
  return vectors_for(kStep);
}

void split_row(const uint8_t* rgb, int count, PlanarRow out) {
  if (!vectors_for(count)) return plain::split_row(rgb, count, out);
  cover(count, [&](int x) { split_16(rgb + 3 * x, out.from(x)); });
}

void pick_columns(const uint16_t* blended, const Between* columns, int count, PlanarRow out) {
  if (!vectors_for(count)) return plain::pick_columns(blended, columns, count, out);
  cover(count, [&](int x) { pick_16(blended, columns + x, out.from(x)); });
}

void sample_squares(const Square* squares, int count, PlanarRow out) {
  if (!vectors_for(count)) return plain::sample_squares(squares, count, out);
  cover(count, [&](int x) { sample_16(squares + x, out.from(x)); });
}

#else

bool has_vector_rows() {
  return false;
}
void split_row(const uint8_t* rgb, int count, PlanarRow out) {
  plain::split_row(rgb, count, out);
}
void pick_columns(const uint16_t* blended, const Between* columns, int count, PlanarRow out) {
  plain::pick_columns(blended, columns, count, out);
}
void sample_squares(const Square* squares, int count, PlanarRow out) {
  plain::sample_squares(squares, count, out);
}

#endif

}  // namespace tenfold
