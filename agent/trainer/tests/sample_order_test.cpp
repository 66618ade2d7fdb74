#include "sample_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace tenfold {
namespace {

nlohmann::json known_answers() {
  std::ifstream in(TENFOLD_FIXTURES "/trainer-contract/sample-order.json");
  return nlohmann::json::parse(in);
}

TEST(SampleOrder, PermutationsAreThoseOfTheContract) {
  const auto cases = known_answers().at("permutations");
  ASSERT_FALSE(cases.empty());
  for (const auto& c : cases)
    EXPECT_EQ(permutation(c.at("seed"), c.at("epoch"), c.at("n")), c.at("order").get<std::vector<int64_t>>()) << c;
}

TEST(SampleOrder, RankSlicesAreThoseOfTheContract) {
  const auto cases = known_answers().at("rank_slices");
  ASSERT_FALSE(cases.empty());
  for (const auto& c : cases)
    EXPECT_EQ(rank_positions(c.at("n"), c.at("batch"), c.at("offset"), c.at("world_size"), c.at("rank")),
              c.at("positions").get<std::vector<int64_t>>())
        << c;
}

TEST(SampleOrder, EveryWorldSizeCoversAnEpochExactlyOnce) {
  constexpr int64_t kSamples = 101, kBatch = 16;
  for (const int world_size : {1, 2, 3, 8, 20}) {
    std::multiset<int64_t> seen;
    for (int64_t offset = 0; offset < kSamples; offset += kBatch)
      for (int rank = 0; rank < world_size; ++rank)
        for (const int64_t position : rank_positions(kSamples, kBatch, offset, world_size, rank)) seen.insert(position);
    EXPECT_EQ(seen.size(), static_cast<size_t>(kSamples)) << world_size;
    EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), static_cast<size_t>(kSamples)) << world_size;
  }
}

TEST(SampleOrder, AnEmptyEpochHasNoOrder) {
  EXPECT_TRUE(permutation(1, 1, 0).empty());
}

TEST(SampleOrder, SenselessArgumentsAreRefused) {
  EXPECT_THROW(permutation(0, 1, -1), std::invalid_argument);
  EXPECT_THROW(rank_positions(10, 0, 0, 1, 0), std::invalid_argument);
  EXPECT_THROW(rank_positions(10, 4, 0, 2, 2), std::invalid_argument);
  EXPECT_THROW(rank_positions(10, 4, -4, 2, 0), std::invalid_argument);
}

}  // namespace
}  // namespace tenfold
