#include "model.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "device.h"
#include "inspect.h"

namespace tenfold {
namespace {

std::shared_ptr<Detector> from_yaml(const std::string& layers, int nc = 2) {
  return build_detector(parse_model_spec("family: v8\nlayers:\n" + layers, "", "test.yaml"), nc);
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

TEST(Detector, InferenceWithFoldedBatchNormEqualsTheLongWay) {
  at::manual_seed(1);
  const auto detector = build_detector(load_model_spec("yolov8n"), 3);
  const auto images = at::rand({2, 3, 64, 64});
  detector->forward(images);  // moves the running statistics away from 0 and 1
  detector->eval();
  const auto with_gradient = detector->forward(images);
  const at::NoGradGuard no_grad;
  const auto without = detector->forward(images);
  for (size_t i = 0; i < without.size(); ++i)
    EXPECT_TRUE(at::allclose(with_gradient[i], without[i], 1e-4, 1e-4)) << "map " << i;
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

TEST(Detector, EveryTrainableParameterGetsAGradient) {
  const auto detector = build_detector(load_model_spec("yolov8n"), 3);
  at::Tensor sum = at::zeros({});
  for (const auto& map : detector->forward(at::rand({2, 3, 64, 64}))) sum = sum + map.square().sum();
  sum.backward();
  for (const auto& item : detector->named_parameters())
    EXPECT_EQ(item.value().grad().defined(), item.value().requires_grad()) << item.key();
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

TEST(Detector, RefusesNetworksThatDoNotFitTogether) {
  const std::string detect = "  - {block: Detect}\n";
  EXPECT_EQ(building_error(kStem + "  - {block: Convolution, channels: 8}\n" + detect),
            "layer 1 (Convolution): not a block that can stand before the last layer; known: C2f, Concat, Conv, SPPF, "
            "Upsample");
  EXPECT_EQ(building_error(kStem), "layer 0 (Conv): not a block that can be the last layer; known: Detect");
  EXPECT_EQ(building_error("  - {block: Conv, from: image, channels: 8, kernal: 3}\n" + detect),
            "layer 0 (Conv): unknown key \"kernal\"; known: kernel, stride");
  EXPECT_EQ(building_error("  - {block: Conv, from: image, kernel: 3}\n" + detect), "layer 0 (Conv): channels is missing");
  EXPECT_EQ(building_error(kStem + "  - {block: Upsample, channels: 8}\n" + detect),
            "layer 1 (Upsample): has no use for channels");
  EXPECT_EQ(building_error(kStem +
                     "  - {block: Conv, channels: 8, kernel: 3, stride: 2}\n"
                     "  - {block: Concat, from: [0, 1]}\n" +
                     detect),
            "layer 2 (Concat): joins maps of stride 2 and 4");
  EXPECT_EQ(building_error(kStem + "  - {block: Upsample, scale: 4}\n" + detect),
            "layer 1 (Upsample): cannot upsample a map of stride 2");
  EXPECT_EQ(building_error(kStem + "  - {block: Conv, channels: 8, kernel: 2}\n" + detect),
            "layer 1 (Conv): kernel must be odd");
  EXPECT_EQ(building_error(kStem + "  - {block: Conv, channels: 8, from: 0}\n  - {block: Detect, from: 0}\n"),
            ": no layer takes the output of layer 1");
}

struct Size {
  const char* name;
  int64_t parameters80, parameters3;
  double gflops;
};

class PublishedSizes : public testing::TestWithParam<Size> {};

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

INSTANTIATE_TEST_SUITE_P(Yolov8, PublishedSizes,
                         testing::Values(Size{"yolov8n", 3'157'200, 3'011'433, 8.8},
                                         Size{"yolov8s", 11'166'560, 11'136'761, 28.7},
                                         Size{"yolov8m", 25'902'640, 25'858'057, 79.1},
                                         Size{"yolov8l", 43'691'520, 43'632'153, 165.4},
                                         Size{"yolov8x", 68'229'648, 68'155'497, 258.2}),
                         [](const auto& info) { return info.param.name; });

TEST(Inspect, ShowsEveryLayerWithItsShape) {
  const auto report = inspect_model(load_model_spec("yolov8n"), 80, 640);
  ASSERT_EQ(report.layers.size(), 23U);
  EXPECT_EQ(report.layers[0].shapes, (std::vector<std::vector<int64_t>>{{16, 320, 320}}));
  EXPECT_EQ(report.layers[22].shapes, (std::vector<std::vector<int64_t>>{{144, 80, 80}, {144, 40, 40}, {144, 20, 20}}));
  const auto text = render_report(report);
  EXPECT_NE(text.find("16x320x320"), std::string::npos);
  EXPECT_NE(text.find("3157200"), std::string::npos);
  EXPECT_THROW(inspect_model(load_model_spec("yolov8n"), 80, 100), ModelError);
}

}  // namespace
}  // namespace tenfold
