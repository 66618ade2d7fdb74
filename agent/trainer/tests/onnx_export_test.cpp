// Exported models compute what the trainer computes, by ONNX Runtime's word.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "box.h"
#include "checkers.h"
#include "data_fixtures.h"
#include "model.h"
#include "exit_code.h"
#include "onnx_operators.h"
#include "op_graph.h"
#include "postprocess.h"
#include "predict.h"
#include "test_detectors.h"
#include "trainer_command.h"

namespace tenfold {
namespace {

using testing::mentions;
using testing::run_trainer;
using testing::TemporaryFolder;
using Json = nlohmann::json;

/// Operators that inference engines have; an export uses no others.
const std::set<std::string> kUsualOperators = {
    "Add",      "Cast",      "Concat", "Conv",    "Div",       "Expand",  "GatherElements", "MatMul",
    "MaxPool",  "Mod",       "Mul",    "Reshape", "Resize",    "Sigmoid", "Slice",          "Softmax",
    "Split",    "Squeeze",   "Sub",    "TopK",    "Transpose", "Unsqueeze", "ReduceMax"};

void write_floats(const std::filesystem::path& file, const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  std::ofstream(file, std::ios::binary)
      .write(static_cast<const char*>(flat.const_data_ptr()), static_cast<std::streamsize>(flat.nbytes()));
}

/// Random noise, or pictures as `predict` shows them to a network.
at::Tensor random_images(int batch, int height, int width) { return at::rand({batch, 3, height, width}); }

at::Tensor scene_images(const TemporaryFolder& folder, int batch, int side) {
  std::vector<at::Tensor> images;
  for (int i = 0; i < batch; ++i) {
    const Label label{i % 6, 0.4F + 0.1F * static_cast<float>(i), 0.5F, 0.5F, 0.6F};
    const auto path = folder / ("scene" + std::to_string(i) + ".png");
    testing::write_file(path, encode_png(testing::scene(100, 70 + 20 * i, {label})));
    images.push_back(read_picture({path, "scene"}, side).input);
  }
  return at::stack(images).to(at::kFloat).div(255);
}

class OnnxExport : public ::testing::Test {
 protected:
  /// Exports `model` by the command, and has what ONNX Runtime makes of each batch compared with the trainer's own.
  Json compare(const std::shared_ptr<Detector>& model, const std::string& arch, const std::vector<std::string>& options,
               const std::vector<at::Tensor>& batches,
               const std::function<at::Tensor(const at::Tensor&)>& finish = [](const at::Tensor& t) { return t; }) {
    const auto weights = folder_ / "w.safetensors", onnx = folder_ / "w.onnx";
    testing::write_detector(weights, *model, arch, {"red", "green", "blue"}, 64);
    std::vector<std::string> words = {"export", weights.string(), "--format", "onnx"};
    words.insert(words.end(), options.begin(), options.end());
    const auto [code, output] = run_trainer(words);
    EXPECT_EQ(code, 0) << output;
    const at::NoGradGuard no_grad;
    model->eval();
    Json cases = Json::array();
    for (const at::Tensor& images : batches) {
      const std::string stem = (folder_ / std::to_string(cases.size())).string();
      write_floats(stem + ".images", images);
      write_floats(stem + ".expected", finish(decode(model->forward_detecting(images), model->head_layout())));
      cases.push_back({{"shape", images.sizes()}, {"images", stem + ".images"}, {"expected", stem + ".expected"}});
    }
    testing::write_file(folder_ / "cases.json", cases.dump());
    const std::string said =
        testing::run_checker("check_onnx.py", testing::shell_word(onnx) + " " + testing::shell_word(folder_ / "cases.json"));
    Json report = Json::parse(said, nullptr, false);
    EXPECT_TRUE(report.is_object()) << said;
    if (!report.is_object()) return Json{{"errors", Json::array()}};
    EXPECT_EQ(report["errors"].size(), batches.size());
    for (const double error : report["errors"]) EXPECT_LT(error, 1e-4) << report["errors"];
    for (const std::string name : report["operators"]) EXPECT_TRUE(kUsualOperators.contains(name)) << name;
    return report;
  }

  void SetUp() override {
    if (!testing::checkers_have("onnxruntime"))
      GTEST_SKIP() << "no ONNX Runtime in " << testing::checkers_python() << " (deploy/checkers makes one)";
  }

  TemporaryFolder folder_;
};

TEST_F(OnnxExport, AgreesWithOnnxRuntimeOnRandomAndRealImagesForOneAndThree) {
  const Json report = compare(testing::lively_detector("yolov8n", 3), "yolov8n", {},
                              {random_images(1, 64, 64), random_images(3, 64, 64), scene_images(folder_, 1, 64),
                               scene_images(folder_, 3, 64)});
  EXPECT_EQ(report["opset"], 17);
  EXPECT_EQ(report["input"], (Json{"images", {"batch", 3, 64, 64}}));
  EXPECT_EQ(report["output"], (Json{"predictions", {"batch", 7, 84}}));
  const Json& metadata = report["metadata"];
  EXPECT_EQ(Json::parse(metadata["names"].get<std::string>()), (Json{"red", "green", "blue"}));
  EXPECT_EQ(metadata["stride"], "32");
  EXPECT_EQ(Json::parse(metadata["imgsz"].get<std::string>()), (Json{64, 64}));
  EXPECT_EQ(metadata["task"], "detect");
  EXPECT_EQ(metadata["family"], "v8");
}

TEST_F(OnnxExport, AgreesForYolov5) {
  const Json report = compare(testing::lively_detector("yolov5n", 3), "yolov5n", {},
                              {random_images(1, 64, 64), random_images(3, 64, 64), scene_images(folder_, 2, 64)});
  EXPECT_EQ(report["output"], (Json{"predictions", {"batch", 7, 252}}));
}

TEST_F(OnnxExport, GivesTheBestDetectionsOfYolov10) {
  const Json report = compare(testing::lively_detector("yolov10n", 3), "yolov10n", {"--max-det", "40"},
                              {random_images(1, 64, 64), random_images(3, 64, 64), scene_images(folder_, 2, 64)},
                              [](const at::Tensor& decoded) { return best_detections(decoded, 40); });
  EXPECT_EQ(report["output"], (Json{"detections", {"batch", 40, 6}}));
}

TEST_F(OnnxExport, FoldsBatchNormsAndKeepsTheNamesOfWeights) {
  const Json report = compare(testing::lively_detector("yolov8n", 3), "yolov8n", {}, {random_images(2, 64, 64)});
  const auto operators = report["operators"].get<std::set<std::string>>();
  EXPECT_FALSE(operators.contains("BatchNormalization"));
  const auto names = report["initializers"].get<std::set<std::string>>();
  EXPECT_TRUE(names.contains("model.0.conv.weight"));
  EXPECT_TRUE(names.contains("model.22.cv3.2.2.bias"));
}

TEST_F(OnnxExport, TakesAnotherSizeAFixedBatchAndAnOlderOpset) {
  const Json report = compare(testing::lively_detector("yolov8n", 3), "yolov8n",
                              {"--imgsz", "64x128", "--batch", "2", "--opset", "13"}, {random_images(2, 64, 128)});
  EXPECT_EQ(report["opset"], 13);
  EXPECT_EQ(report["input"][1], (Json{2, 3, 64, 128}));
}

TEST_F(OnnxExport, ExportsAUsersOwnNetwork) {
  testing::write_file(folder_ / "mine.yaml", std::string(R"(family: v8
layers:
  - {block: Conv, from: image, channels: 16, kernel: 3, stride: 2}
  - {id: fine, block: C2f, channels: 16, repeats: 2, shortcut: true}
  - {block: Conv, channels: 24, kernel: 5, stride: 2}
  - {id: deep, block: SPPF, channels: 24, kernel: 3}
  - {block: Upsample, scale: 2}
  - {id: mixed, block: Concat, from: [previous, fine]}
  - {block: Detect, from: [mixed, deep], reg_max: 4}
)"));
  const std::string arch = (folder_ / "mine.yaml").string();
  compare(testing::lively_detector(arch, 3), arch, {}, {random_images(1, 64, 64), random_images(3, 64, 64)});
}

TEST(OnnxExportFile, LiesInAFolderThatIsMade) {
  const TemporaryFolder folder;
  const auto weights = folder / "w.safetensors", onnx = folder / "not/yet/w.onnx";
  testing::write_detector(weights, *testing::lively_detector("yolov8n", 3), "yolov8n", {}, 64);
  const auto [code, output] = run_trainer({"export", weights.string(), "--imgsz", "32", "--out", onnx.string()});
  EXPECT_EQ(code, 0) << output;
  EXPECT_TRUE(std::filesystem::exists(onnx));
}

TEST(OnnxExportErrors, AreTold) {
  const TemporaryFolder folder;
  const auto weights = folder / "w.safetensors";
  testing::write_detector(weights, *testing::lively_detector("yolov8n", 3), "yolov8n", {}, 64);
  const auto size = run_trainer({"export", weights.string(), "imgsz=100"});
  EXPECT_EQ(size.code, static_cast<int>(ExitCode::bad_config));
  EXPECT_TRUE(mentions(size.output, "100 is not a multiple of the stride 32"));
  const auto format = run_trainer({"export", weights.string(), "--format", "engine"});
  EXPECT_EQ(format.code, static_cast<int>(ExitCode::usage));
  EXPECT_TRUE(mentions(format.output, "`engine` is not written"));
  EXPECT_EQ(run_trainer({"export", weights.string(), "--opset", "9"}).code, static_cast<int>(ExitCode::usage));
  EXPECT_FALSE(std::filesystem::exists(folder / "w.onnx"));
}

TEST(OnnxExportFile, IsOverwrittenOnlyWhereThatIsTold) {
  const TemporaryFolder folder;
  const auto weights = folder / "w.safetensors", onnx = folder / "w.onnx";
  testing::write_detector(weights, *testing::lively_detector("yolov8n", 1), "yolov8n", {"red"}, 64);
  testing::write_file(onnx, std::string("mine"));
  const auto refused = run_trainer({"export", weights.string()});
  EXPECT_EQ(refused.code, static_cast<int>(ExitCode::usage));
  EXPECT_TRUE(mentions(refused.output, onnx.string() + " is there already")) << refused.output;
  EXPECT_TRUE(mentions(refused.output, "--force")) << refused.output;
  EXPECT_EQ(std::filesystem::file_size(onnx), 4U);
  const auto forced = run_trainer({"export", weights.string(), "--force", "batch=1"});
  EXPECT_EQ(forced.code, 0) << forced.output;
  EXPECT_TRUE(mentions(forced.output, "yolov8n, 1 class, opset 17, 1 image of 64x64 (HxW)")) << forced.output;
  EXPECT_GT(std::filesystem::file_size(onnx), 1000U);
}

TEST(OnnxExportFile, IsNeverTheWeightsThemselves) {
  const TemporaryFolder folder;
  const auto weights = folder / "w.safetensors";
  testing::write_file(weights, std::string("weights"));
  const std::string same = (folder.path() / "." / "w.safetensors").string();
  const auto [code, output] = run_trainer({"export", weights.string(), "--out", same, "--force"});
  EXPECT_EQ(code, static_cast<int>(ExitCode::usage));
  EXPECT_TRUE(mentions(output, "--out would overwrite the weights " + weights.string())) << output;
  EXPECT_EQ(std::filesystem::file_size(weights), 7U);
}

// --- The recording ---

OpGraph record_for(int images, const std::function<at::Tensor(const at::Tensor&)>& program) {
  return record_operators([&](const at::Tensor& x) { return std::vector<at::Tensor>{program(x)}; },
                          at::ones({images, 3, 4}), {});
}

TEST(OpGraph, HoldsWhatDependsOnTheInputAndConstantsOnceAndForAll) {
  const at::Tensor weight = at::ones({4});
  const OpGraph graph = record_for(1, [&](const at::Tensor& x) {
    const at::Tensor scaled = x * (weight + 1);
    return scaled - x.sigmoid();
  });
  ASSERT_EQ(graph.nodes.size(), 3U);  // mul, sigmoid, sub; the sum of weight and 1 is a constant
  EXPECT_EQ(graph.nodes[0].op, "aten::mul");
  const auto& factor = std::get<Operand>(graph.nodes[0].arguments[1]);
  ASSERT_TRUE(factor.is_constant());
  EXPECT_TRUE(at::equal(factor.constant, weight + 1));
}

TEST(OpGraph, SeesWhichNumbersGrowWithTheImages) {
  const auto program = [](const at::Tensor& x) { return x.reshape({x.size(0), 12}).reshape({x.size(0) * 3, 4}); };
  const OpGraph graph = generalise_batch(record_for(1, program), record_for(2, program));
  EXPECT_EQ(graph.values[static_cast<size_t>(graph.outputs[0])].shape, (std::vector<Extent>{{0, 3}, {4, 0}}));
}

TEST(OpGraph, RefusesWhatCannotBeGeneralised) {
  const auto program = [](const at::Tensor& x) { return x * at::ones({x.size(0), 1, 1}); };
  EXPECT_THROW(generalise_batch(record_for(1, program), record_for(2, program)), ModelError);
  EXPECT_THROW(record_for(1, [](const at::Tensor& x) {
                 const at::Tensor y = x + 1;
                 y.narrow(1, 0, 1).sigmoid_();
                 return y;
               }),
               ModelError);
}

TEST(OnnxOperators, NamesAnOperatorThatHasNoCounterpart) {
  const OpGraph graph = record_for(1, [](const at::Tensor& x) { return at::erfinv(x); });
  OnnxModel model;
  try {
    write_operators(graph, "x", {"y"}, model);
    FAIL() << "no error";
  } catch (const ModelError& error) {
    EXPECT_TRUE(mentions(error.what(), "aten::erfinv has no counterpart"));
  }
}

}  // namespace
}  // namespace tenfold
