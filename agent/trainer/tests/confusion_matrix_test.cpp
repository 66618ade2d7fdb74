#include "confusion_matrix.h"

#include <gtest/gtest.h>

namespace tenfold {
namespace {

constexpr Corners kHere{0, 0, 10, 10}, kNearHere{1, 0, 11, 10}, kThere{50, 50, 60, 60}, kNowhere{90, 90, 99, 99};

TEST(ConfusionMatrix, CountsWhatEveryLabelWasTakenFor) {
  ConfusionMatrix matrix(3);
  matrix.add_image(std::vector<ObjectBox>{{0, kHere}, {2, kThere}, {1, kNowhere}},
                   std::vector<ObjectBox>{{0, kHere}, {1, kThere}, {2, {20, 20, 30, 30}}});
  EXPECT_EQ(matrix.count(0, 0), 1) << "found";
  EXPECT_EQ(matrix.count(2, 1), 1) << "found, but taken for another class";
  EXPECT_EQ(matrix.count(1, matrix.background()), 1) << "detected where nothing is";
  EXPECT_EQ(matrix.count(matrix.background(), 2), 1) << "missed";
  int64_t all = 0;
  for (int actual = 0; actual <= 3; ++actual) all += matrix.total(actual);
  EXPECT_EQ(all, 4) << "nothing else was counted";
  EXPECT_EQ(matrix.total(1), 1);
}

TEST(ConfusionMatrix, PairsEachBoxOnceTheClosestFirst) {
  ConfusionMatrix matrix(2);
  // The first detection overlaps both labels by more than .45, but the second fits the first label exactly.
  matrix.add_image(std::vector<ObjectBox>{{0, kNearHere}, {1, kHere}},
                   std::vector<ObjectBox>{{1, kHere}, {0, {3, 0, 13, 10}}});
  EXPECT_EQ(matrix.count(1, 1), 1);
  EXPECT_EQ(matrix.count(0, 0), 1);
  EXPECT_EQ(matrix.total(matrix.background()), 0);
}

TEST(ConfusionMatrix, OverlapsOfExactlyTheThresholdAreNotEnough) {
  ConfusionMatrix matrix(1);
  matrix.add_image(std::vector<ObjectBox>{{0, {0, 0, 20, 9}}}, std::vector<ObjectBox>{{0, {0, 0, 20, 20}}});  // .45
  EXPECT_EQ(matrix.count(0, 0), 0);
  matrix.add_image(std::vector<ObjectBox>{{0, {0, 0, 20, 10}}}, std::vector<ObjectBox>{{0, {0, 0, 20, 20}}});  // .50
  EXPECT_EQ(matrix.count(0, 0), 1);
}

}  // namespace
}  // namespace tenfold
