#include "postprocess.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "box.h"

namespace tenfold {
namespace {

/// Decoded predictions of one image: a row of cx, cy, w, h and class scores for each anchor.
at::Tensor decoded(const std::vector<std::vector<float>>& anchors) {
  std::vector<at::Tensor> columns;
  for (const auto& anchor : anchors) columns.push_back(at::tensor(anchor));
  return at::stack(columns, 1).unsqueeze(0);
}

TEST(Decode, PlacesABoxByItsExpectedDistances) {
  const HeadLayout layout{Family::v8, 2, {8}, 4};
  // Certain bins: left 1, top 0, right 2, bottom 3 cells, at the anchor of column 1, row 0: centre (12, 4).
  auto map = at::zeros({1, 4 * 4 + 2, 1, 2});
  const std::vector<int64_t> bins = {1, 0, 2, 3};
  for (int64_t side = 0; side < 4; ++side) map[0][side * 4 + bins[static_cast<size_t>(side)]][0][1] = 100;
  map[0][16][0][1] = std::log(3.0);
  const auto predictions = decode({map}, layout);
  ASSERT_EQ(predictions.sizes(), (std::vector<int64_t>{1, 6, 2}));
  // x from 12-8 to 12+16, y from 4-0 to 4+24.
  const auto expected = at::tensor({16.F, 16.F, 24.F, 24.F, 0.75F, 0.5F});
  EXPECT_TRUE(at::allclose(predictions[0].select(1, 1), expected)) << predictions[0].select(1, 1);
}

TEST(Decode, PlacesAnAnchorsBoxByItsCellAndItsShape) {
  const HeadLayout layout{Family::v5, 1, {8}, 0, at::tensor({1.F, 2.F, 3.F, 4.F}).view({1, 2, 2})};
  auto map = at::zeros({1, 2, 1, 2, 6});  // two anchors, a row of two cells
  map[0][1][0][1][4] = std::log(3.0);     // objectness 0.75 at the second anchor of the second cell
  const auto predictions = decode({map}, layout);
  ASSERT_EQ(predictions.sizes(), (std::vector<int64_t>{1, 5, 4})) << "anchors of the first shape, then of the second";
  // Zeros are the cell's centre and the anchor's own size.
  EXPECT_TRUE(at::allclose(predictions[0].select(1, 3), at::tensor({12.F, 4.F, 24.F, 32.F, 0.375F})));
  EXPECT_TRUE(at::allclose(predictions[0].select(1, 0), at::tensor({4.F, 4.F, 8.F, 16.F, 0.25F})));
}

TEST(SelectBest, TakesTheBestScoresAndSuppressesNothing) {
  const auto predictions = decoded({{10, 10, 10, 10, 0.6F, 0.1F}, {10, 10, 10, 10, 0.2F, 0.9F}});
  const auto found = select_best(predictions, {.conf = 0.15F, .max_det = 10});
  ASSERT_EQ(found.size(), 1U);
  const auto expected = at::tensor({5.F, 5.F, 15.F, 15.F, 0.9F, 1.F,  //
                                    5.F, 5.F, 15.F, 15.F, 0.6F, 0.F,  //
                                    5.F, 5.F, 15.F, 15.F, 0.2F, 0.F})
                            .view({3, 6});
  EXPECT_TRUE(at::allclose(found[0], expected)) << found[0];
  EXPECT_EQ(select_best(predictions, {.conf = 0.15F, .max_det = 2})[0].size(0), 2);
}

TEST(Detect, LooksAtTheBranchesThatFindEachBoxOnce) {
  const HeadLayout layout{Family::v10, 1, {8}, 4};
  const auto sure = at::full({1, 17, 1, 1}, 5.F), unsure = at::full({1, 17, 1, 1}, -5.F);
  EXPECT_EQ(detect({unsure, sure}, layout, {.conf = 0.5F})[0].size(0), 1);
  EXPECT_EQ(detect({sure, unsure}, layout, {.conf = 0.5F})[0].size(0), 0);
  EXPECT_EQ(detect({sure}, layout, {.conf = 0.5F})[0].size(0), 1) << "where only they were computed";
}

TEST(Suppress, KeepsTheBestOfOverlappingBoxesOfAClass) {
  const auto predictions = decoded({{10, 10, 10, 10, 0.6F, 0.1F},
                                    {11, 10, 10, 10, 0.9F, 0.1F},    // overlaps the first by 9/11
                                    {30, 10, 10, 10, 0.5F, 0.1F},    // far away
                                    {10, 10, 10, 10, 0.1F, 0.7F},    // another class on the same place
                                    {50, 50, 10, 10, 0.2F, 0.2F}});  // unsure
  const auto found = suppress(predictions, {.conf = 0.25F, .iou = 0.5F});
  ASSERT_EQ(found.size(), 1U);
  const auto expected = at::tensor({6.F, 5.F, 16.F, 15.F, 0.9F, 0.F,  //
                                    5.F, 5.F, 15.F, 15.F, 0.7F, 1.F,  //
                                    25.F, 5.F, 35.F, 15.F, 0.5F, 0.F})
                            .view({3, 6});
  EXPECT_TRUE(at::allclose(found[0], expected)) << found[0];

  const auto agnostic = suppress(predictions, {.conf = 0.25F, .iou = 0.5F, .class_agnostic = true});
  EXPECT_EQ(agnostic[0].size(0), 2);
  const auto one = suppress(predictions, {.conf = 0.25F, .iou = 0.5F, .max_det = 1});
  EXPECT_TRUE(at::allclose(one[0], expected.narrow(0, 0, 1)));
}

TEST(Suppress, CountsAnAnchorOncePerClassOnlyWhenAskedTo) {
  const auto predictions = decoded({{10, 10, 10, 10, 0.6F, 0.5F}});
  EXPECT_EQ(suppress(predictions, {.conf = 0.25F})[0].size(0), 1);
  EXPECT_EQ(suppress(predictions, {.conf = 0.25F, .multi_label = true})[0].size(0), 2);
}

TEST(Suppress, FindsNothingWhereNothingIsSure) {
  const auto found = suppress(decoded({{10, 10, 10, 10, 0.25F, 0.1F}}), {.conf = 0.25F});
  EXPECT_EQ(found[0].sizes(), (std::vector<int64_t>{0, 6}));
}

TEST(Suppress, LooksAtNoMoreThanTheBestCandidates) {
  const auto predictions = decoded({{10, 10, 4, 4, 0.5F}, {30, 30, 4, 4, 0.9F}, {50, 50, 4, 4, 0.7F}});
  const auto found = suppress(predictions, {.conf = 0.1F, .max_candidates = 2});
  ASSERT_EQ(found[0].size(0), 2);
  EXPECT_TRUE(at::allclose(found[0].select(1, 4), at::tensor({0.9F, 0.7F})));
}

TEST(Suppress, OfRandomBoxesLeavesNoPairAboveTheThresholdAndDropsNoneBelow) {
  at::manual_seed(5);
  const int64_t anchors = 300, classes = 3;
  const auto predictions =
      at::cat({at::rand({2, 2, anchors}) * 60, at::rand({2, 2, anchors}) * 30 + 1, at::rand({2, classes, anchors})}, 1);
  const DetectOptions options{.conf = 0.3F, .iou = 0.4F, .max_det = 1000, .multi_label = true};
  const auto found = suppress(predictions, options);
  for (int64_t image = 0; image < 2; ++image) {
    const auto& kept = found[static_cast<size_t>(image)];
    const auto kept_boxes = kept.narrow(1, 0, 4);
    const auto overlap = box_iou(kept_boxes.unsqueeze(0), kept_boxes.unsqueeze(1)).fill_diagonal_(0);
    const auto same_class = kept.select(1, 5).unsqueeze(0) == kept.select(1, 5).unsqueeze(1);
    EXPECT_FALSE(((overlap > options.iou + 1e-5) & same_class).any().item<bool>());
    EXPECT_TRUE((kept.select(1, 4).diff() <= 0).all().item<bool>()) << "best first";
    // Every candidate that is missing has a better one of its class over it.
    const auto boxes = xywh_to_xyxy(predictions[image].narrow(0, 0, 4).t());
    int64_t explained = 0;
    for (int64_t cls = 0; cls < classes; ++cls) {
      const auto scores = predictions[image][4 + cls];
      const auto rivals = kept.index({kept.select(1, 5) == cls});
      for (int64_t i = 0; i < anchors; ++i) {
        if (scores[i].item<float>() <= options.conf) continue;
        const auto better =
            (box_iou(boxes[i], rivals.narrow(1, 0, 4)) > options.iou - 1e-5) & (rivals.select(1, 4) >= scores[i]);
        EXPECT_TRUE(better.any().item<bool>()) << "class " << cls << " anchor " << i;
        ++explained;
      }
    }
    EXPECT_GT(explained, kept.size(0));
  }
}

}  // namespace
}  // namespace tenfold
