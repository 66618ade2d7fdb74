#include "model.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "device.h"
#include "inspect.h"

namespace tenfold {
namespace {

std::shared_ptr<Detector> from_yaml(const std::string& layers, int nc = 2, const std::string& family = "v8") {
  return build_detector(parse_model_spec("family: " + family + "\nlayers:\n" + layers, "", "test.yaml"), nc);
}

std::string building_error(const std::string& layers) {
  try {
    from_yaml(layers);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "no error";
}

const std::string kStem = "  - {block: Conv, from: image, channels: 16, kernel: 3, stride: 2}\n";

TEST(Detector, GivesRawMapsOfEveryStride) {
  const auto detector = build_detector(load_model_spec("yolov8n"), 3);
  EXPECT_EQ(detector->strides(), (std::vector<int>{8, 16, 32}));
  const auto raw = detector->forward(at::rand({2, 3, 64, 96}));
  ASSERT_EQ(raw.size(), 3U);
  EXPECT_EQ(raw[0].sizes(), (std::vector<int64_t>{2, 67, 8, 12}));
  EXPECT_EQ(raw[1].sizes(), (std::vector<int64_t>{2, 67, 4, 6}));
  EXPECT_EQ(raw[2].sizes(), (std::vector<int64_t>{2, 67, 2, 3}));
}

TEST(Detector, NamesItsParametersAsThePublishedCheckpointsDo) {
  const auto parameters = build_detector(load_model_spec("yolov8n"), 3)->named_parameters();
  for (const auto* name : {"model.0.conv.weight", "model.2.m.0.cv1.bn.bias", "model.9.cv2.conv.weight",
                           "model.22.cv2.1.2.bias", "model.22.cv3.2.0.bn.weight", "model.22.dfl.conv.weight"})
    EXPECT_TRUE(parameters.contains(name)) << name;
  EXPECT_FALSE(parameters["model.22.dfl.conv.weight"].requires_grad());
}

class BuiltInDetector : public ::testing::TestWithParam<const char*> {};

TEST_P(BuiltInDetector, InfersWithFoldedBatchNormsAsTheLongWay) {
  at::manual_seed(1);
  const auto detector = build_detector(load_model_spec(GetParam()), 3);
  const auto images = at::rand({2, 3, 64, 64});
  detector->forward(images);  // moves the running statistics away from 0 and 1
  detector->eval();
  const auto with_gradient = detector->forward(images);
  const at::NoGradGuard no_grad;
  const auto without = detector->forward(images);
  for (size_t i = 0; i < without.size(); ++i)
    EXPECT_TRUE(at::allclose(with_gradient[i], without[i], 1e-4, 1e-4)) << "map " << i;
}

TEST_P(BuiltInDetector, GivesEveryTrainableParameterAGradient) {
  const auto detector = build_detector(load_model_spec(GetParam()), 3);
  at::Tensor sum = at::zeros({});
  for (const auto& map : detector->forward(at::rand({2, 3, 64, 64}))) sum = sum + map.square().sum();
  sum.backward();
  for (const auto& item : detector->named_parameters())
    EXPECT_EQ(item.value().grad().defined(), item.value().requires_grad()) << item.key();
}

INSTANTIATE_TEST_SUITE_P(Families, BuiltInDetector, ::testing::Values("yolov5n", "yolov8n", "yolov10n", "yolov10s"),
                         [](const auto& info) { return info.param; });

TEST(Detector, OfDualHeadsShapesItsFeaturesByTheFirstAlone) {
  at::manual_seed(1);
  const auto detector = build_detector(load_model_spec("yolov10n"), 3);
  const auto raw = detector->forward(at::rand({1, 3, 64, 64}));
  ASSERT_EQ(raw.size(), 6U);
  raw[3].sum().backward();
  const auto parameters = detector->named_parameters();
  EXPECT_TRUE(parameters["model.23.one2one_cv2.0.0.conv.weight"].grad().defined());
  EXPECT_FALSE(parameters["model.0.conv.weight"].grad().defined());
  EXPECT_TRUE(at::equal(parameters["model.23.one2one_cv2.0.0.conv.weight"], parameters["model.23.cv2.0.0.conv.weight"]))
      << "both begin alike";
}

TEST(Detector, ChannelsLastChangesTheLayoutAndNotTheResult) {
  at::manual_seed(1);
  const auto detector = build_detector(load_model_spec("yolov8n"), 3);
  detector->eval();
  const at::NoGradGuard no_grad;
  const auto images = at::rand({1, 3, 64, 64});
  const auto before = detector->forward(images);
  for (auto& parameter : detector->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(laid_out(parameter, at::MemoryFormat::ChannelsLast));
  }
  const auto after = detector->forward(images.contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(after[0].is_contiguous(at::MemoryFormat::ChannelsLast));
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::allclose(before[i], after[i], 1e-4, 1e-4)) << "map " << i;
}

TEST(Detector, AcceptsANetworkOfTheUsersOwn) {
  const auto detector = from_yaml(kStem +
                                  "  - {block: C2f, channels: 24, repeats: 2}\n"
                                  "  - {id: fine, block: Conv, channels: 32, kernel: 3, stride: 2}\n"
                                  "  - {id: coarse, block: SPPF, channels: 32}\n"
                                  "  - {block: Conv, channels: 40, kernel: 3, stride: 2}\n"
                                  "  - {block: Upsample}\n"
                                  "  - {id: joined, block: Concat, from: [previous, fine, coarse]}\n"
                                  "  - {block: Conv, channels: 48, kernel: 3, stride: 2}\n"
                                  "  - {block: Detect, from: [joined, previous], reg_max: 8}\n");
  EXPECT_EQ(detector->strides(), (std::vector<int>{4, 8}));
  const auto raw = detector->forward(at::rand({2, 3, 32, 32}));
  EXPECT_EQ(raw[1].sizes(), (std::vector<int64_t>{2, 4 * 8 + 2, 4, 4}));
}

TEST(Detector, TakesItsAnchorsAndAnyNumberOfScalesFromTheYaml) {
  const auto layers = kStem + "  - {id: fine, block: C3, channels: 24, repeats: 2}\n"
                              "  - {block: Conv, channels: 32, kernel: 3, stride: 2}\n"
                              "  - {block: AnchorDetect, from: [fine, previous], anchors: [[4, 8], [16, 12]]}\n";
  const auto detector = from_yaml(layers, 2, "v5");
  const auto raw = detector->forward(at::rand({2, 3, 32, 32}));
  ASSERT_EQ(raw.size(), 2U);
  EXPECT_EQ(raw[0].sizes(), (std::vector<int64_t>{2, 1, 16, 16, 5 + 2}));
  const auto& anchors = detector->head_layout().anchors;
  EXPECT_TRUE(at::equal(anchors, at::tensor({2.F, 4.F, 4.F, 3.F}).view({2, 1, 2}))) << "in cells of strides 2 and 4";
  detector->named_buffers()["model.3.anchors"].fill_(7);
  EXPECT_EQ(detector->head_layout().anchors[0][0][0].item<float>(), 7) << "a checkpoint's anchors count";
  detector->to(at::kDouble);
  EXPECT_EQ(detector->head_layout().anchors.scalar_type(), at::kDouble);
}

TEST(Detector, RefusesNetworksThatDoNotFitTogetherAndNamesTheLine) {
  const std::string detect = "  - {block: Detect}\n";
  EXPECT_EQ(building_error(kStem + "  - {block: Convolution, channels: 8}\n" + detect),
            "test.yaml:4: layer 1 (Convolution): not a block that can stand before the last layer; known: C2f, C2fCIB, "
            "C3, Concat, Conv, PSA, SCDown, SPPF, Upsample");
  EXPECT_EQ(building_error(kStem),
            "test.yaml:3: layer 0 (Conv): not a block that can be the last layer; known: AnchorDetect, Detect, "
            "DualDetect");
  EXPECT_EQ(building_error("  - {block: Conv, from: image, channels: 8, kernal: 3}\n" + detect),
            "test.yaml:3: layer 0 (Conv): unknown key \"kernal\"; known: groups, kernel, stride");
  EXPECT_EQ(building_error("  - {block: Conv, from: image, kernel: 3}\n" + detect),
            "test.yaml:3: layer 0 (Conv): channels is missing");
  EXPECT_EQ(building_error(kStem + "  - {block: Upsample, channels: 8}\n" + detect),
            "test.yaml:4: layer 1 (Upsample): has no use for channels");
  EXPECT_EQ(building_error(kStem +
                     "  - {block: Conv, channels: 8, kernel: 3, stride: 2}\n"
                     "  - {block: Concat, from: [0, 1]}\n" +
                     detect),
            "test.yaml:5: layer 2 (Concat): joins maps of stride 2 and 4");
  EXPECT_EQ(building_error(kStem + "  - {block: Upsample, scale: 4}\n" + detect),
            "test.yaml:4: layer 1 (Upsample): cannot upsample a map of stride 2");
  EXPECT_EQ(building_error(kStem + "  - {block: Conv, channels: 8, kernel: 2}\n" + detect),
            "test.yaml:4: layer 1 (Conv): an even kernel needs an even stride");
  EXPECT_EQ(building_error(kStem + "  - {block: Conv, channels: 8, from: 0}\n  - {block: Detect, from: 0}\n"),
            "test.yaml:4: layer 1 (Conv): no layer takes its output");
  EXPECT_EQ(building_error(kStem + "  - {block: Detect, reg_max: 1}\n"),
            "test.yaml:4: layer 1 (Detect): reg_max must be 2 or more");
  EXPECT_EQ(building_error(kStem + "  - {block: DualDetect}\n"),
            "test.yaml:4: layer 1 (DualDetect): belongs to family v10, not v8");
}

struct Size {
  const char* name;
  int64_t parameters80, parameters3;
  double gflops;
};

class PublishedSizes : public ::testing::TestWithParam<Size> {};

TEST_P(PublishedSizes, HaveThePublishedParametersAndOperations) {
  const auto spec = load_model_spec(GetParam().name);
  const auto report = inspect_model(spec, 80, 640);
  EXPECT_EQ(report.parameters, GetParam().parameters80);
  EXPECT_NEAR(report.gflops, GetParam().gflops, 0.05 + 1e-9);
  EXPECT_EQ(build_detector(spec, 3)->parameter_count(), GetParam().parameters3);
  int64_t sum = 0;
  for (const auto& layer : report.layers) sum += layer.parameters;
  EXPECT_EQ(sum, report.parameters);
}

INSTANTIATE_TEST_SUITE_P(
    All, PublishedSizes,
    ::testing::Values(Size{"yolov5n", 1'872'157, 1'767'976, 4.5}, Size{"yolov5s", 7'235'389, 7'027'720, 16.5},
                    Size{"yolov5m", 21'190'557, 20'879'400, 49.1}, Size{"yolov5l", 46'563'709, 46'149'064, 109.3},
                    Size{"yolov5x", 86'749'405, 86'231'272, 205.9}, Size{"yolov8n", 3'157'200, 3'011'433, 8.8},
                    Size{"yolov8s", 11'166'560, 11'136'761, 28.7}, Size{"yolov8m", 25'902'640, 25'858'057, 79.1},
                    Size{"yolov8l", 43'691'520, 43'632'153, 165.4}, Size{"yolov8x", 68'229'648, 68'155'497, 258.2},
                    Size{"yolov10n", 2'775'520, 2'708'210, 8.7}, Size{"yolov10s", 8'128'272, 8'068'674, 24.9},
                    Size{"yolov10m", 16'576'768, 16'487'602, 64.2}, Size{"yolov10b", 20'574'384, 20'455'650, 99.0},
                    Size{"yolov10l", 25'888'688, 25'769'954, 127.4}, Size{"yolov10x", 31'808'960, 31'660'658, 171.2}),
    [](const auto& info) { return info.param.name; });

TEST(Inspect, ShowsEveryLayerWithItsShape) {
  const auto report = inspect_model(load_model_spec("yolov8n"), 80, 640);
  ASSERT_EQ(report.layers.size(), 23U);
  EXPECT_EQ(report.layers[0].shapes, (std::vector<std::vector<int64_t>>{{16, 320, 320}}));
  EXPECT_EQ(report.layers[22].shapes, (std::vector<std::vector<int64_t>>{{144, 80, 80}, {144, 40, 40}, {144, 20, 20}}));
  const auto heads = inspect_model(load_model_spec("yolov5n"), 80, 640).layers.back().shapes;
  EXPECT_EQ(heads.front(), (std::vector<int64_t>{255, 80, 80})) << "three anchors";
  const auto text = render_report(report);
  EXPECT_NE(text.find("16x320x320"), std::string::npos);
  EXPECT_NE(text.find("3157200"), std::string::npos);
  EXPECT_THROW(inspect_model(load_model_spec("yolov8n"), 80, 100), ModelError);
}

}  // namespace
}  // namespace tenfold
