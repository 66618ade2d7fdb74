#include "evaluate.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "data_fixtures.h"
#include "pr_curve.h"
#include "validate.h"

namespace tenfold {
namespace {

/// Rows of x1, y1, x2, y2, score, class.
Detections detections(const std::vector<float>& rows) {
  return at::tensor(rows).view({-1, 6});
}
/// Rows of class, x1, y1, x2, y2.
at::Tensor labels(const std::vector<float>& rows) {
  return at::tensor(rows).view({-1, 5});
}

TEST(PrecisionRecall, OfAMissBetweenTwoHits) {
  const auto curve = pr_curve({true, false, true}, 2);
  EXPECT_EQ(curve.recall, (std::vector<double>{0.5, 0.5, 1}));
  EXPECT_EQ(curve.precision, (std::vector<double>{1, 0.5, 2.0 / 3}));
  // Precision 1 up to recall .5 (51 of the 101 points), 2/3 beyond (50).
  EXPECT_NEAR(coco_average_precision(curve), (51 + 50 * 2.0 / 3) / 101, 1e-12);
  // Flat at 1 up to .49, down to 2/3 at .50, flat up to .99, down to 0 at 1.
  EXPECT_NEAR(published_average_precision(curve), 0.49 + 0.005 * (1 + 2.0 / 3) + 0.49 * 2.0 / 3 + 0.005 * 2.0 / 3,
              1e-9);
}

TEST(PrecisionRecall, OfPerfectAndOfHopelessDetections) {
  EXPECT_DOUBLE_EQ(coco_average_precision(pr_curve({true, true}, 2)), 1);
  EXPECT_NEAR(published_average_precision(pr_curve({true, true}, 2)), 0.995, 1e-9) << "its last interval falls to 0";
  EXPECT_EQ(coco_average_precision(pr_curve({false}, 2)), 0);
  EXPECT_EQ(coco_average_precision(pr_curve({}, 2)), 0);
  EXPECT_EQ(published_average_precision(pr_curve({}, 2)), 0);
}

TEST(ConfidenceCurves, AreReadBetweenTheScoresOfDetections) {
  const auto curve = confidence_curve(pr_curve({true, false}, 2), {0.8F, 0.4F});
  const auto at = [](double confidence) { return static_cast<size_t>(confidence * (kConfidences - 1)); };
  EXPECT_EQ(curve.recall[at(0.9)], 0);
  EXPECT_EQ(curve.precision[at(0.9)], 1) << "nothing detected, nothing wrong";
  EXPECT_NEAR(curve.precision[at(0.6)], 0.75, 2e-3) << "half way from 1 to 0.5";
  EXPECT_EQ(curve.precision[at(0.2)], 0.5);
  EXPECT_EQ(curve.recall[at(0.2)], 0.5);
}

TEST(Matching, BestDetectionsChooseFirstAndEachLabelIsFoundOnce) {
  const auto truth = labels({0, 0, 0, 10, 10});
  const auto hits = match_detections(detections({0, 0, 10, 8, 0.9F, 0,     // IoU 0.8
                                                 0, 0, 10, 10, 0.8F, 0}),  // exact, but later
                                     truth);
  EXPECT_EQ(hits[0], 0b0001111111U) << ".50 to .80";
  EXPECT_EQ(hits[1], 0b1110000000U) << "only where the first did not reach";
}

TEST(Matching, TakesTheFreeLabelThatItOverlapsMostAndNeverAnotherClass) {
  const auto truth = labels({0, 0, 0, 10, 10,  //
                             0, 2, 0, 12, 10,  //
                             1, 0, 0, 10, 10});
  // The first takes the second label exactly, so the second detection still finds the first label.
  const auto hits = match_detections(detections({2, 0, 12, 10, 0.9F, 0,  //
                                                 2, 0, 12, 10, 0.8F, 0,  //
                                                 0, 0, 10, 10, 0.7F, 2}),
                                     truth);
  EXPECT_EQ(hits[0], 0b1111111111U);
  EXPECT_EQ(hits[1], 0b0000001111U) << "IoU 8/12 with the label that is left: .50 to .65";
  EXPECT_EQ(hits[2], 0U);
}

TEST(Evaluator, AveragesOverTheClassesThatHaveLabels) {
  Evaluator evaluator(4);
  // Class 0: found. Class 1: missed. Class 3: a detection of something that is nowhere.
  evaluator.add_image(7, detections({0, 0, 10, 10, 0.9F, 0, 50, 50, 60, 60, 0.6F, 3}),
                      labels({0, 0, 0, 10, 10, 1, 20, 20, 30, 30}));
  const auto metrics = evaluator.compute();
  ASSERT_EQ(metrics.classes.size(), 2U);
  EXPECT_EQ(metrics.images, 1);
  EXPECT_EQ(metrics.labels, 2);
  EXPECT_DOUBLE_EQ(metrics.classes[0].ap50_95(), 1);
  EXPECT_DOUBLE_EQ(metrics.classes[0].recall, 1);
  EXPECT_DOUBLE_EQ(metrics.classes[0].precision, 1);
  EXPECT_DOUBLE_EQ(metrics.classes[1].ap50(), 0);
  EXPECT_DOUBLE_EQ(metrics.map50, 0.5);
  EXPECT_DOUBLE_EQ(metrics.recall, 0.5);
}

TEST(Evaluator, WithoutAnythingIsZeroAndNotAnError) {
  Evaluator evaluator(2);
  EXPECT_EQ(evaluator.compute().map50, 0);
  evaluator.add_image(0, at::zeros({0, 6}), at::zeros({0, 5}));
  evaluator.add_image(1, detections({0, 0, 1, 1, 0.5F, 1}), at::zeros({0, 5}));
  EXPECT_EQ(evaluator.compute().map50, 0);
  EXPECT_EQ(evaluator.compute().images, 2);
}

TEST(Evaluator, CountsTheBestHundredDetectionsOfAnImageAndClassAsCocoDoes) {
  std::vector<float> rows;
  for (int i = 0; i < 100; ++i) rows.insert(rows.end(), {500, 500, 510, 510, 0.9F, 0});  // all wrong
  rows.insert(rows.end(), {0, 0, 10, 10, 0.5F, 0});                                      // right, but number 101
  Evaluator evaluator(1);
  evaluator.add_image(0, detections(rows), labels({0, 0, 0, 10, 10}));
  EXPECT_EQ(evaluator.compute(ApRule::coco).map50, 0);
  EXPECT_GT(evaluator.compute(ApRule::published).map50, 0);
}

/// Twelve images with labels and shifted copies of them as detections, many with equal scores.
void add_random_images(std::vector<Evaluator*> ranks) {
  at::manual_seed(6);
  for (int64_t image = 0; image < 12; ++image) {
    const auto corner = at::rand({6, 2}) * 80, size = at::rand({6, 2}) * 30 + 5;
    const auto cls = at::randint(3, {6, 1}).to(at::kFloat);
    const auto boxes = at::cat({corner, corner + size}, 1);
    const auto guesses = boxes + at::randn({6, 4}) * 2;
    const auto score = (at::rand({6, 1}) * 4).floor() / 4 + 0.1;
    ranks[static_cast<size_t>(image) % ranks.size()]->add_image(image, at::cat({guesses, score, cls}, 1),
                                                                at::cat({cls, boxes}, 1));
  }
}

TEST(Evaluator, SpreadOverRanksGivesExactlyWhatOneRankGives) {
  Evaluator single(3), rank0(3), rank1(3), rank2(3);
  add_random_images({&single});
  add_random_images({&rank0, &rank1, &rank2});
  // Ranks pad to a common size before they gather; the padding must not count.
  const auto padded = at::cat({rank1.pack(), at::full({5, 5}, -1, at::kDouble)});
  Evaluator merged(3);
  for (const auto& packed : {rank2.pack(), padded, rank0.pack()}) merged.merge(packed);
  const auto expected = single.compute(), actual = merged.compute();
  ASSERT_GT(expected.map50_95, 0.1);
  ASSERT_LT(expected.map50_95, 0.99);
  EXPECT_EQ(actual.images, 12);
  EXPECT_EQ(actual.labels, expected.labels);
  EXPECT_EQ(actual.map50, expected.map50);
  EXPECT_EQ(actual.map50_95, expected.map50_95);
  EXPECT_EQ(actual.precision, expected.precision);
  EXPECT_EQ(actual.recall, expected.recall);
}

/// A picture of 64 x 32 that lies in a square of 64, with one object at its lower edge.
Batch letterboxed_batch() {
  Batch batch;
  batch.images = at::zeros({1, 3, 64, 64}, at::kByte);
  batch.targets = at::tensor({0.0F, 0.0F, 0.5F, 0.75F, 0.25F, 0.25F}).view({1, 6});  // 24..40 x 40..56: 8 rows too many
  batch.ids = {0};
  batch.letterbox = {{.scale = 1, .pad_x = 0, .pad_y = 16, .width = 64, .height = 32, .original_width = 64, .original_height = 32}};
  return batch;
}

TEST(Validation, ComparesBoxesAsFarAsTheyLieOnThePicture) {
  const testing::TemporaryFolder folder;
  const Dataset data = testing::scenes_dataset(folder.path(), 1);
  const auto map_of = [&](const std::vector<float>& found) {
    Evaluator evaluator(1);
    add_images(evaluator, letterboxed_batch(), {detections(found)}, data);
    return evaluator.compute().map50_95;
  };
  EXPECT_DOUBLE_EQ(map_of({24, 40, 40, 48, 0.9F, 0}), 1) << "the part that is on the picture";
  EXPECT_DOUBLE_EQ(map_of({24, 40, 40, 64, 0.9F, 0}), 1) << "with more beyond the edge than the label has";
  EXPECT_LT(map_of({24, 40, 40, 44, 0.9F, 0}), 0.2) << "half of it";
  EXPECT_DOUBLE_EQ(map_of({24, 50, 40, 60, 0.9F, 0}), 0) << "on the grey alone";
}

TEST(Validation, APictureIsMissedOnlyInTheBatchThatItCouldNotBeReadFor) {
  const testing::TemporaryFolder folder;
  const Dataset data = testing::scenes_dataset(folder.path(), 1);
  const auto map_of = [&](const Batch& batch) {
    Evaluator evaluator(1);
    add_images(evaluator, batch, {detections({24, 40, 40, 48, 0.9F, 0})}, data);
    return evaluator.compute().map50_95;
  };
  Batch unreadable = letterboxed_batch();
  unreadable.unreadable = {0};
  EXPECT_DOUBLE_EQ(map_of(unreadable), 0);
  EXPECT_DOUBLE_EQ(map_of(letterboxed_batch()), 1) << "in a later epoch";
}

}  // namespace
}  // namespace tenfold
