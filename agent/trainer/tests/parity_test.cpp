// Numbers of the published implementations against ours. The vectors lie outside the repository: the folder is
// TENFOLD_VECTORS, else ../shared/reference/vectors beside the checkout; where there is none the tests say "skipped".
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "box.h"
#include "evaluate.h"
#include "loss.h"
#include "model.h"
#include "postprocess.h"
#include "safetensors.h"

namespace tenfold {
namespace {

using nlohmann::json;
using Tensors = std::map<std::string, at::Tensor>;

std::filesystem::path vectors_folder() {
  if (const char* folder = std::getenv("TENFOLD_VECTORS")) return folder;
  return (std::filesystem::path(TENFOLD_FIXTURES) / "../../../shared/reference/vectors").lexically_normal();
}

/// Manifests that `wanted` accepts, by name.
std::vector<std::filesystem::path> manifests(const std::function<bool(const std::string& stem)>& wanted) {
  std::vector<std::filesystem::path> found;
  if (!std::filesystem::is_directory(vectors_folder())) return found;
  for (const auto& entry : std::filesystem::directory_iterator(vectors_folder()))
    if (entry.path().extension() == ".json" && wanted(entry.path().stem().string())) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

struct Vectors {
  json manifest;
  Tensors weights, tensors;
};

Vectors load(const std::filesystem::path& path) {
  Vectors vectors;
  std::ifstream(path) >> vectors.manifest;
  const auto& files = vectors.manifest.at("files");
  const auto read = [&](const char* key) {
    const auto file = read_safetensors(path.parent_path() / files.at(key).get<std::string>());
    return Tensors(file.tensors.begin(), file.tensors.end());
  };
  if (files.contains("weights")) vectors.weights = read("weights");
  vectors.tensors = read("vectors");
  return vectors;
}

Tensors state_of(torch::nn::Module& module) {
  Tensors state;
  for (const auto& item : module.named_parameters()) state.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

std::shared_ptr<Detector> detector_with_weights(const Vectors& vectors) {
  const auto name =
      "yolo" + vectors.manifest.at("family").get<std::string>() + vectors.manifest.at("size").get<std::string>();
  auto detector = build_detector(load_model_spec(name), vectors.manifest.at("nc").get<int>());
  auto state = state_of(*detector);
  EXPECT_EQ(state.size(), vectors.weights.size());
  const at::NoGradGuard no_grad;
  for (const auto& [key, value] : vectors.weights) {
    if (!state.count(key)) {
      ADD_FAILURE() << "no parameter or buffer is called " << key;
      continue;
    }
    EXPECT_EQ(state.at(key).sizes(), value.sizes()) << key;
    state.at(key).copy_(value);
  }
  return detector;
}

void expect_close(const at::Tensor& ours, const at::Tensor& theirs, double tolerance, const std::string& what) {
  ASSERT_EQ(ours.sizes(), theirs.sizes()) << what;
  const auto a = ours.detach().to(at::kDouble), b = theirs.to(at::kDouble);
  EXPECT_TRUE(at::allclose(a, b, tolerance, tolerance)) << what << ": off by " << (a - b).abs().max().item<double>();
}

/// The inputs x_a, x_b, … that the vectors hold.
std::vector<std::string> cases_of(const Vectors& vectors) {
  std::vector<std::string> cases;
  for (const auto& [key, value] : vectors.tensors)
    if (key.starts_with("x_")) cases.push_back(key.substr(2));
  return cases;
}

class PublishedModel : public testing::TestWithParam<std::filesystem::path> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PublishedModel);

TEST_P(PublishedModel, GivesTheSameOutputsInEvaluation) {
  const auto vectors = load(GetParam());
  const auto detector = detector_with_weights(vectors);
  EXPECT_EQ(detector->parameter_count(), vectors.manifest.at("params").get<int64_t>());
  detector->eval();
  const at::NoGradGuard no_grad;
  for (const auto& name : cases_of(vectors)) {
    const auto raw = detector->forward(vectors.tensors.at("x_" + name));
    for (size_t i = 0; i < raw.size(); ++i) {
      const auto key = "eval_" + name + ".raw" + std::to_string(i);
      expect_close(raw[i], vectors.tensors.at(key), 1e-4, key);
    }
    const auto decoded = decode(raw, detector->head_layout());
    expect_close(decoded, vectors.tensors.at("eval_" + name + ".decoded"), 1e-4, "decoded " + name);
  }
}

TEST_P(PublishedModel, GivesTheSameLossAndGradientsInTraining) {
  const auto vectors = load(GetParam());
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const std::string precision = dtype == at::kFloat ? "fp32" : "fp64";
    for (const auto& name : cases_of(vectors)) {
      SCOPED_TRACE(name + "." + precision);
      const auto detector = detector_with_weights(vectors);
      detector->to(dtype);
      detector->train();
      const auto images = vectors.tensors.at("x_" + name).to(dtype);
      const auto raw = detector->forward(images);
      for (size_t i = 0; i < raw.size(); ++i)
        expect_close(raw[i], vectors.tensors.at("train_" + name + ".raw" + std::to_string(i)), 1e-4, "raw");

      const auto& hyp = vectors.manifest.at("hyp");
      const auto loss = make_detection_loss(detector->head_layout(), {hyp.at("box"), hyp.at("cls"), hyp.at("dfl")});
      const auto result = (*loss)(raw, vectors.tensors.at("targets"), static_cast<int>(images.size(2)),
                                  static_cast<int>(images.size(3)));
      const auto& expected = vectors.manifest.at("loss").at(name + "." + precision);
      const auto total = expected.at("total").get<double>();
      EXPECT_NEAR(result.total.item<double>(), total, 1e-4 * total);
      for (size_t i = 0; i < kLossItemNames.size(); ++i) {
        const auto item = expected.at("items").at(i).get<double>();
        EXPECT_NEAR(result.items[static_cast<int64_t>(i)].item<double>(), item, 1e-4 * item) << kLossItemNames[i];
      }

      result.total.backward();
      const auto norms = vectors.tensors.at("gradnorm_" + name + "." + precision);
      const double floor = 1e-6 * norms.max().item<double>();
      const auto parameters = detector->named_parameters();
      const auto& names = vectors.manifest.at("param_names");
      for (size_t i = 0; i < names.size(); ++i) {
        const auto& gradient = parameters[names[i].get<std::string>()].grad();
        const double reference = norms[static_cast<int64_t>(i)].item<double>();
        if (reference < 0) {
          EXPECT_FALSE(gradient.defined()) << names[i] << " is frozen";
          continue;
        }
        EXPECT_NEAR(gradient.norm().item<double>(), reference, 1e-3 * reference + floor) << names[i];
      }
      const double gradient_scale = norms.max().item<double>();
      for (const auto& [key, value] : vectors.tensors) {
        const auto prefix = "grad_" + name + ".";
        if (!key.starts_with(prefix)) continue;
        const auto difference = (parameters[key.substr(prefix.size())].grad() - value).norm().item<double>();
        EXPECT_LE(difference, 1e-3 * value.norm().item<double>() + 1e-6 * gradient_scale) << key;
      }
      auto state = state_of(*detector);
      for (const auto& [key, value] : vectors.tensors) {
        const auto prefix = "bn_after_" + name + ".";
        if (key.starts_with(prefix)) expect_close(state.at(key.substr(prefix.size())), value, 1e-4, key);
      }
    }
  }
}

bool is_supported_model(const std::string& stem) {
  return stem.starts_with("yolov8");
}
INSTANTIATE_TEST_SUITE_P(Vectors, PublishedModel, testing::ValuesIn(manifests(is_supported_model)),
                         [](const auto& info) { return info.param.stem().string(); });

class PublishedPostprocessing : public testing::TestWithParam<std::filesystem::path> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PublishedPostprocessing);

TEST_P(PublishedPostprocessing, SuppressesTheSameBoxes) {
  const auto vectors = load(GetParam());
  const std::map<std::string, DetectOptions> settings = {
      {"conf25_iou45", {.conf = 0.25F, .iou = 0.45F}},
      {"conf001_iou70_multi", {.conf = 0.001F, .iou = 0.70F, .multi_label = true}},
      {"conf25_iou45_agnostic", {.conf = 0.25F, .iou = 0.45F, .class_agnostic = true}}};
  for (const auto& [name, options] : settings) {
    const auto detections = suppress(vectors.tensors.at("nms.pred_v8"), options);
    for (size_t i = 0; i < detections.size(); ++i) {
      const auto key = "nms." + name + ".img" + std::to_string(i);
      expect_close(detections[i], vectors.tensors.at(key), 1e-4, key);
    }
  }
}

TEST_P(PublishedPostprocessing, FindsTheSameTruePositivesAndPrecision) {
  const auto vectors = load(GetParam());
  const auto& expected = vectors.manifest.at("map");
  Evaluator evaluator(static_cast<int>(expected.at("classes").size()));
  for (int64_t image = 0; vectors.tensors.count("map.gt.img" + std::to_string(image)); ++image) {
    const auto suffix = ".img" + std::to_string(image);
    const auto& detections = vectors.tensors.at("nms.conf001_iou70_multi" + suffix);
    const auto& truth = vectors.tensors.at("map.gt" + suffix);
    const auto& true_positives = vectors.tensors.at("map.tp" + suffix);
    const auto hits = match_detections(detections, truth);
    for (size_t d = 0; d < hits.size(); ++d)
      for (int t = 0; t < kIouThresholds; ++t)
        EXPECT_EQ(hits[d] >> t & 1U, true_positives[static_cast<int64_t>(d)][t].item<int>()) << d << " at " << t;
    evaluator.add_image(image, detections, truth);
  }
  const auto metrics = evaluator.compute(ApRule::published);
  const auto& ap = vectors.tensors.at("map.ap");
  for (size_t i = 0; i < metrics.classes.size(); ++i) {
    for (size_t t = 0; t < kIouThresholds; ++t)
      EXPECT_NEAR(metrics.classes[i].ap[t], ap[static_cast<int64_t>(i)][static_cast<int64_t>(t)].item<double>(), 1e-6);
    EXPECT_NEAR(metrics.classes[i].precision, expected.at("precision").at(i), 1e-4);
    EXPECT_NEAR(metrics.classes[i].recall, expected.at("recall").at(i), 1e-4);
    EXPECT_NEAR(metrics.classes[i].f1, expected.at("f1").at(i), 1e-4);
  }
  EXPECT_NEAR(metrics.map50, expected.at("map50"), 1e-6);
  EXPECT_NEAR(metrics.map50_95, expected.at("map50_95"), 1e-6);
}

TEST_P(PublishedPostprocessing, MeasuresTheSameOverlaps) {
  const auto vectors = load(GetParam());
  const auto a = xywh_to_xyxy(vectors.tensors.at("iou.a_xywh")), b = xywh_to_xyxy(vectors.tensors.at("iou.b_xywh"));
  expect_close(box_iou(a, b), vectors.tensors.at("iou.iou"), 1e-5, "IoU");
  expect_close(box_ciou(a, b), vectors.tensors.at("iou.ciou"), 1e-5, "CIoU");
}

bool is_postprocessing(const std::string& stem) {
  return stem.starts_with("postproc");
}
INSTANTIATE_TEST_SUITE_P(Vectors, PublishedPostprocessing, testing::ValuesIn(manifests(is_postprocessing)),
                         [](const auto& info) { return info.param.stem().string(); });

TEST(Parity, HasVectorsToCompareWith) {
  if (!std::filesystem::is_directory(vectors_folder()))
    GTEST_SKIP() << "no vectors of the published implementations: set TENFOLD_VECTORS to their folder";
  EXPECT_FALSE(manifests(is_supported_model).empty() && manifests(is_postprocessing).empty())
      << "nothing to compare with in " << vectors_folder();
}

}  // namespace
}  // namespace tenfold
