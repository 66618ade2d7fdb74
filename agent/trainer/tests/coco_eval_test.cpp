// Our figures beside those of pycocotools for the same detections: fixtures/coco-eval, made by its make_fixture.py.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <map>
#include <sstream>

#include "evaluate.h"

namespace tenfold {
namespace {

using Json = nlohmann::json;

const std::string kFolder = TENFOLD_TEST_FIXTURES "/coco-eval/";
/// The issue asks for 1e-3. The same operations in the same order leave no more than this.
constexpr double kTolerance = 1e-9;

/// By image, the numbers of each line after the image's.
std::map<int64_t, std::vector<std::vector<float>>> read_rows(const std::string& file) {
  std::map<int64_t, std::vector<std::vector<float>>> by_image;
  std::ifstream in(kFolder + file);
  std::string line;
  std::getline(in, line);  // header
  while (std::getline(in, line)) {
    std::istringstream cells(line);
    std::vector<float> numbers;
    for (std::string cell; std::getline(cells, cell, ',');) numbers.push_back(std::stof(cell));
    by_image[static_cast<int64_t>(numbers[0])].emplace_back(numbers.begin() + 1, numbers.end());
  }
  return by_image;
}

at::Tensor table(const std::vector<float>& numbers, int64_t columns) { return at::tensor(numbers).view({-1, columns}); }

constexpr float kPixelsPerUnit = 0.25F;

class CocoEval : public ::testing::Test {
 protected:
  /// Adds every image to one of the evaluators in turn.
  void add_images(const std::vector<Evaluator*>& ranks) {
    for (int64_t image = 0; image < expected_["images"]; ++image) {
      std::vector<float> found, wanted;
      for (const auto& row : detections_[image])
        found.insert(found.end(), {row[2] * kPixelsPerUnit, row[3] * kPixelsPerUnit, row[4] * kPixelsPerUnit,
                                   row[5] * kPixelsPerUnit, row[1] / 1000, row[0]});
      for (const auto& row : labels_[image])
        wanted.insert(wanted.end(), {row[0], row[1] * kPixelsPerUnit, row[2] * kPixelsPerUnit, row[3] * kPixelsPerUnit,
                                     row[4] * kPixelsPerUnit});
      ranks[static_cast<size_t>(image) % ranks.size()]->add_image(image, table(found, 6), table(wanted, 5));
    }
  }
  int nc() const { return expected_["classes"]; }

  Json expected_ = Json::parse(std::ifstream(kFolder + "expected.json"));
  std::map<int64_t, std::vector<std::vector<float>>> detections_ = read_rows("detections.csv");
  std::map<int64_t, std::vector<std::vector<float>>> labels_ = read_rows("labels.csv");
};

TEST_F(CocoEval, GivesWhatPycocotoolsGivesOverallAndForEveryClassAndThreshold) {
  Evaluator evaluator(nc());
  add_images({&evaluator});
  const Metrics metrics = evaluator.compute();
  EXPECT_EQ(metrics.images, 320);
  EXPECT_NEAR(metrics.map50, expected_["mAP50"].get<double>(), kTolerance);
  EXPECT_NEAR(metrics.map75, expected_["mAP75"].get<double>(), kTolerance);
  EXPECT_NEAR(metrics.map50_95, expected_["mAP50-95"].get<double>(), kTolerance);
  auto of_class = metrics.classes.begin();
  for (int cls = 0; cls < nc(); ++cls) {
    const Json& ap = expected_["ap_by_class_and_threshold"][static_cast<size_t>(cls)];
    if (ap.is_null()) continue;  // a class without labels has no AP
    ASSERT_NE(of_class, metrics.classes.end());
    ASSERT_EQ(of_class->cls, cls);
    for (size_t t = 0; t < kIouThresholds; ++t) {
      EXPECT_NEAR(of_class->ap[t], ap[t].get<double>(), kTolerance) << "class " << cls << " at IoU " << iou_thresholds()[t];
    }
    ++of_class;
  }
  EXPECT_EQ(of_class, metrics.classes.end());
}

TEST_F(CocoEval, DoesNotDependOnHowTheImagesAreSharedOut) {
  Evaluator single(nc());
  add_images({&single});
  const Metrics expected = single.compute();
  for (const size_t world_size : {2, 3, 7}) {
    std::vector<Evaluator> ranks(world_size, Evaluator(nc()));
    std::vector<Evaluator*> pointers;
    for (Evaluator& rank : ranks) pointers.push_back(&rank);
    add_images(pointers);
    Evaluator merged(nc());
    for (const Evaluator& rank : ranks) merged.merge(rank.pack());
    const Metrics actual = merged.compute();
    EXPECT_EQ(actual.map50_95, expected.map50_95) << world_size << " ranks";
    EXPECT_EQ(actual.f1, expected.f1);
    EXPECT_EQ(actual.confidence, expected.confidence);
    EXPECT_EQ(actual.background_images, expected.background_images);
    for (size_t i = 0; i < expected.classes.size(); ++i) {
      EXPECT_EQ(actual.classes[i].ap, expected.classes[i].ap);
      EXPECT_EQ(actual.classes[i].images, expected.classes[i].images);
      EXPECT_EQ(actual.curves[i].by_confidence.precision, expected.curves[i].by_confidence.precision);
      EXPECT_EQ(actual.curves[i].precision_at_recall, expected.curves[i].precision_at_recall);
    }
    for (int predicted = 0; predicted <= nc(); ++predicted)
      for (int actual_class = 0; actual_class <= nc(); ++actual_class)
        EXPECT_EQ(actual.confusion.count(predicted, actual_class), expected.confusion.count(predicted, actual_class));
  }
}

TEST_F(CocoEval, CountsEveryLabelAndEveryConfidentDetectionOnceInTheConfusionMatrix) {
  Evaluator evaluator(nc());
  add_images({&evaluator});
  const Metrics metrics = evaluator.compute();
  const ConfusionMatrix& confusion = metrics.confusion;
  for (const ClassMetrics& cls : metrics.classes) EXPECT_EQ(confusion.total(cls.cls), cls.labels) << "class " << cls.cls;
  int64_t confident = 0, counted = 0;
  for (const auto& [image, rows] : detections_)
    for (const auto& row : rows) confident += row[1] / 1000 >= ConfusionMatrix::kConfidence ? 1 : 0;
  for (int predicted = 0; predicted < nc(); ++predicted)
    for (int actual = 0; actual <= nc(); ++actual) counted += confusion.count(predicted, actual);
  EXPECT_EQ(counted, confident);
}

}  // namespace
}  // namespace tenfold
