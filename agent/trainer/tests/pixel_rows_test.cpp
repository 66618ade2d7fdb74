#include "pixel_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "rng.h"

namespace tenfold {
namespace {

constexpr int kLengths[]{1, 2, 15, 16, 17, 31, 32, 33, 47, 64, 101, 640};

struct Planes {
  explicit Planes(int count) : r(static_cast<size_t>(count)), g(r), b(r) {}
  PlanarRow row() { return {r.data(), g.data(), b.data()}; }
  bool operator==(const Planes&) const = default;

  std::vector<uint8_t> r, g, b;
};

std::vector<uint8_t> random_bytes(int count, uint64_t seed) {
  SampleRng rng(seed, 0, 0);
  std::vector<uint8_t> bytes;
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<uint8_t>(rng.below(256)));
  return bytes;
}

/// Columns of a row of `length` pixels, in no order.
std::vector<Between> random_columns(int count, int length) {
  SampleRng rng(1, 2, count);
  std::vector<Between> columns;
  for (int i = 0; i < count; ++i) {
    const auto first = static_cast<int32_t>(rng.below(length));
    columns.push_back(Between::at(first, first + 1 < length ? static_cast<int>(rng.below(256)) : 0));
  }
  return columns;
}

TEST(PixelRows, PlanesAreSplitAtEveryLength) {
  for (const int count : kLengths) {
    const auto rgb = random_bytes(3 * count, 1);
    Planes split(count);
    split_row(rgb.data(), count, split.row());
    for (size_t x = 0; x < split.r.size(); ++x) {
      ASSERT_EQ(split.r[x], rgb[3 * x]) << count;
      ASSERT_EQ(split.g[x], rgb[3 * x + 1]) << count;
      ASSERT_EQ(split.b[x], rgb[3 * x + 2]) << count;
    }
  }
}

TEST(PixelRows, ABlendedRowIsTheMeanOfTwo) {
  const auto upper = random_bytes(301, 1), lower = random_bytes(301, 2);
  for (const int weight : {0, 1, 77, 128, 255}) {
    std::vector<uint16_t> blended(upper.size());
    blend_rows(upper.data(), lower.data(), weight, 301, blended.data());
    for (size_t i = 0; i < upper.size(); ++i)
      ASSERT_NEAR(blended[i] / 128.0 - 0.5, (upper[i] * (256 - weight) + lower[i] * weight) / 256.0, 0.01) << weight;
  }
}

TEST(PixelRows, VectorsPickTheSameColumnsAsPlainCode) {
  if (!has_vector_rows()) GTEST_SKIP() << "this machine has no SSE4.1";
  constexpr int kRow = 90;
  const auto upper = random_bytes(3 * kRow, 1), lower = random_bytes(3 * kRow, 2);
  std::vector<uint16_t> blended(3 * (kRow + 1) + kBlendSlack);
  blend_rows(upper.data(), lower.data(), 99, 3 * kRow, blended.data());
  for (const int count : kLengths) {
    const auto columns = random_columns(count, kRow);
    Planes vectors(count), one_by_one(count);
    pick_columns(blended.data(), columns.data(), count, vectors.row());
    plain::pick_columns(blended.data(), columns.data(), count, one_by_one.row());
    ASSERT_EQ(vectors, one_by_one) << count;
  }
}

TEST(PixelRows, SamplesBetweenFourPixelsAreExactToHalfALevel) {
  constexpr int kRow = 50;
  auto upper = random_bytes(3 * kRow, 3), lower = random_bytes(3 * kRow, 4);
  upper.resize(upper.size() + 8), lower.resize(lower.size() + 8);  // read, and weighed with zero
  for (const int count : kLengths) {
    std::vector<Square> squares;
    const auto down = static_cast<int16_t>(count * 37 % 256);
    for (const Between& column : random_columns(count, kRow))
      squares.push_back({upper.data() + 3 * column.first, lower.data() + 3 * column.first,
                         static_cast<int16_t>(256 - down), down, column.first_weight, column.second_weight});
    Planes sampled(count), one_by_one(count);
    sample_squares(squares.data(), count, sampled.row());
    plain::sample_squares(squares.data(), count, one_by_one.row());
    ASSERT_EQ(sampled, one_by_one) << count;
    for (size_t i = 0; i < squares.size(); ++i) {
      const Square& s = squares[i];
      const double left = (s.upper[1] * s.upper_weight + s.lower[1] * s.lower_weight) / 256.0;
      const double right = (s.upper[4] * s.upper_weight + s.lower[4] * s.lower_weight) / 256.0;
      ASSERT_NEAR(sampled.g[i], (left * s.left_weight + right * s.right_weight) / 256, 0.51) << count;
    }
  }
}

TEST(PixelRows, WhatLiesOnAPixelIsThatPixel) {
  std::vector<uint8_t> every_level(256 * 3 + 8);
  for (size_t i = 0; i < 256 * 3; ++i) every_level[i] = static_cast<uint8_t>(i / 3);
  std::vector<Square> squares;
  for (size_t i = 0; i < 256; ++i) squares.push_back({&every_level[3 * i], &every_level[3 * i]});
  Planes sampled(256);
  sample_squares(squares.data(), 256, sampled.row());
  for (size_t i = 0; i < 256; ++i) ASSERT_EQ(sampled.r[i], i);
}

}  // namespace
}  // namespace tenfold
