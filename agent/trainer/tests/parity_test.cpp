// Numbers of the published implementations against ours. The vectors lie outside the repository: the folder is
// TENFOLD_VECTORS, else ../shared/reference/vectors beside the checkout; where there is none the tests say "skipped".
// All manifests found there are compared, and each comparison's worst deviation is printed as a share of what is
// allowed; where there is a GPU, models are compared on it as well. `npm run test:parity` runs these tests alone.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "box.h"
#include "ema.h"
#include "evaluate.h"
#include "gpu.h"
#include "loss.h"
#include "model.h"
#include "optim.h"
#include "postprocess.h"
#include "published_vectors.h"

namespace tenfold {
namespace {

using nlohmann::json;
using ::tenfold::testing::case_name;
using ::tenfold::testing::Comparison;
using ::tenfold::testing::Kind;
using ::tenfold::testing::load;
using ::tenfold::testing::manifests;
using ::tenfold::testing::Tensors;
using ::tenfold::testing::Vectors;
using ::tenfold::testing::vectors_folder;
namespace fs = std::filesystem;

Tensors state_of(torch::nn::Module& module) {
  const auto state = named_state(module);
  return {state.begin(), state.end()};
}

/// On the device of the vectors.
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
  detector->to(vectors.weights.begin()->second.device());
  return detector;
}

/// The inputs x_a, x_b, … that the vectors hold.
std::vector<std::string> cases_of(const Vectors& vectors) {
  std::vector<std::string> cases;
  for (const auto& [key, value] : vectors.tensors)
    if (key.starts_with("x_")) cases.push_back(key.substr(2));
  return cases;
}

/// The vectors' names of the parts of a model's output, in the order of Detector::forward: "" or "one2many.", ….
std::vector<std::string> branches_of(const Detector& detector) {
  if (detector.family() == Family::v10) return {"one2many.", "one2one."};
  return {""};
}

/// Raw maps against `prefix`, "eval_a." or the like.
void compare_raw(Comparison& compare, const std::string& kind, const Detector& detector,
                 const std::vector<at::Tensor>& raw, const Vectors& vectors, const std::string& prefix) {
  size_t next = 0;
  for (const auto& branch : branches_of(detector)) {
    for (size_t scale = 0; scale < detector.strides().size(); ++scale) {
      const auto key = prefix + branch + "raw" + std::to_string(scale);
      compare.tensors(kind, key, raw.at(next++), vectors.tensors.at(key), 1e-4);
    }
  }
  EXPECT_EQ(next, raw.size());
}

/// The reference's decoded predictions as ours are laid out: v5's (B, N, 5 + nc) have the objectness by itself.
at::Tensor reference_decoded(const at::Tensor& decoded, Family family) {
  if (family != Family::v5) return decoded;
  const auto scores = decoded.narrow(2, 4, 1) * decoded.narrow(2, 5, decoded.size(2) - 5);
  return at::cat({decoded.narrow(2, 0, 4), scores}, 2).transpose(1, 2);
}

at::Tensor xyxy_to_xywh(const at::Tensor& boxes) {
  const auto near = boxes.narrow(-1, 0, 2), far = boxes.narrow(-1, 2, 2);
  return at::cat({(near + far) / 2, far - near}, -1);
}

/// The best detections of each image, (B, K, 6) cx, cy, w, h, score, class. Rows whose scores are equal within the
/// tolerance may stand in another order, and those that tie with the last may be others.
void compare_best(Comparison& compare, const std::string& key, const at::Tensor& decoded, const at::Tensor& expected) {
  const DetectOptions options{.conf = 0, .max_det = static_cast<int>(expected.size(1))};
  const auto found = select_best(decoded, options);
  for (int64_t image = 0; image < expected.size(0); ++image) {
    const auto& own = found.at(static_cast<size_t>(image));
    const auto theirs = expected[image].to(at::kCPU);
    compare.tensors("best detections", key + " scores", own.select(1, 4), theirs.select(1, 4), 1e-4);
    const auto rows = at::cat({xyxy_to_xywh(own.narrow(1, 0, 4)), own.narrow(1, 4, 2)}, 1);
    const auto last = theirs[-1][4].item<double>();
    for (const auto& row : theirs.unbind(0)) {
      if (row[4].item<double>() <= last * (1 + 1e-4)) continue;
      const auto distance = ((rows - row).abs() / (1e-4 + 1e-4 * row.abs())).amax(1);
      const auto nearest = rows[distance.argmin()];
      compare.tensors("best detections", key, nearest, row, 1e-4);
    }
  }
}

LossGains gains_of(const json& hyp) {
  LossGains gains{.box = hyp.at("box"), .cls = hyp.at("cls")};
  if (hyp.contains("dfl")) gains.dfl = hyp.at("dfl");
  if (hyp.contains("obj")) gains.obj = hyp.at("obj");
  gains.label_smoothing = hyp.value("label_smoothing", 0.0);
  return gains;
}

void compare_loss(Comparison& compare, const std::string& where, const LossResult& result, const json& expected,
                  Family family, double tolerance = 1e-4) {
  const auto total = expected.at("total").get<double>();
  compare.number("loss", where + " total", result.total.item<double>(), total, tolerance);
  const auto items = named_items(family, result.items);
  ASSERT_EQ(items.size(), expected.at("items").size());
  for (size_t i = 0; i < items.size(); ++i)
    compare.number("loss", where + " " + items[i].name, items[i].value, expected.at("items").at(i), tolerance);
}

/// A manifest, and where the model computes.
using ModelCase = std::tuple<fs::path, at::DeviceType>;

/// GPUs multiply in TF32 by default, which has 10 bits for what a float has 23 for.
class FullFloat32 {
 public:
  FullFloat32() { allow_tf32(false); }
  ~FullFloat32() { allow_tf32(true); }
  FullFloat32(const FullFloat32&) = delete;
  FullFloat32& operator=(const FullFloat32&) = delete;

 private:
  static void allow_tf32(bool allow) { at::globalContext().setAllowTF32CuDNN(allow); }
};

class PublishedModel : public ::testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    const auto& [path, device] = GetParam();
    vectors_ = load(path, device);
    name_ = path.stem().string() + (device == at::kCUDA ? ", GPU" : "");
  }

  LossResult loss_of(Detector& detector, const at::Tensor& images, const std::vector<at::Tensor>& raw) const {
    const auto loss = make_detection_loss(detector.head_layout(), gains_of(vectors_.manifest.at("hyp")));
    return (*loss)(raw, vectors_.tensors.at("targets"), static_cast<int>(images.size(2)),
                   static_cast<int>(images.size(3)));
  }

  FullFloat32 full_float32_;
  Vectors vectors_;
  std::string name_;
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PublishedModel);

TEST_P(PublishedModel, GivesTheSameOutputsInEvaluation) {
  Comparison compare(name_);
  const auto detector = detector_with_weights(vectors_);
  EXPECT_EQ(detector->parameter_count(), vectors_.manifest.at("params").get<int64_t>());
  detector->eval();
  const at::NoGradGuard no_grad;
  for (const auto& name : cases_of(vectors_)) {
    const auto& images = vectors_.tensors.at("x_" + name);
    const auto prefix = "eval_" + name + ".";
    const auto raw = detector->forward(images);
    compare_raw(compare, "eval outputs", *detector, raw, vectors_, prefix);
    const auto& layout = detector->head_layout();
    const auto scales = static_cast<ptrdiff_t>(layout.strides.size());
    auto first = raw.begin();
    for (const auto& branch : branches_of(*detector)) {
      const auto key = prefix + branch + "decoded";
      const auto expected = reference_decoded(vectors_.tensors.at(key), layout.family);
      compare.tensors("decoded", key, decode({first, first + scales}, layout), expected, 1e-4);
      first += scales;
    }
    const auto detecting = detector->forward_detecting(images);
    compare.tensors("decoded", prefix + "detecting", decode(detecting, layout), decode(raw, layout), 1e-4);
    if (const auto best = vectors_.tensors.find(prefix + "topk100"); best != vectors_.tensors.end())
      compare_best(compare, best->first, decode(raw, layout), best->second);
  }
}

/// Every parameter's gradient by its norm, and those that the vectors hold in full by value.
void compare_gradients(Comparison& compare, const Detector& detector, const Vectors& vectors, const std::string& name,
                       const std::string& precision) {
  const auto& norms = vectors.tensors.at("gradnorm_" + name + "." + precision);
  const double floor = 1e-6 * norms.max().item<double>();
  const auto parameters = detector.named_parameters();
  const auto& names = vectors.manifest.at("param_names");
  EXPECT_EQ(names.size(), parameters.size());
  for (size_t i = 0; i < names.size(); ++i) {
    const auto parameter = names[i].get<std::string>();
    const auto& gradient = parameters[parameter].grad();
    const double reference = norms[static_cast<int64_t>(i)].item<double>();
    if (reference < 0) {
      EXPECT_FALSE(gradient.defined()) << parameter << " is frozen";
    } else if (!gradient.defined()) {
      ADD_FAILURE() << parameter << " has no gradient";
    } else {
      compare.number("gradient norms", parameter, gradient.norm().item<double>(), reference, 1e-3, floor);
    }
  }
  const auto prefix = "grad_" + name + ".";
  for (const auto& [key, value] : vectors.tensors) {
    if (!key.starts_with(prefix)) continue;
    const double norm = value.norm().item<double>();
    const double difference = (parameters[key.substr(prefix.size())].grad() - value).norm().item<double>();
    compare.number("gradients", key, norm + difference, norm, 1e-3, floor);
  }
}

/// Training computes in channels last, and there by other functions than in channels first.
struct Arithmetic {
  at::ScalarType type;
  at::MemoryFormat format;
};

TEST_P(PublishedModel, GivesTheSameLossAndGradientsInTraining) {
  Comparison compare(name_);
  for (const Arithmetic& in : {Arithmetic{at::kFloat, at::MemoryFormat::Contiguous},
                               Arithmetic{at::kFloat, at::MemoryFormat::ChannelsLast},
                               Arithmetic{at::kDouble, at::MemoryFormat::Contiguous}}) {
    const std::string precision = in.type == at::kFloat ? "fp32" : "fp64";
    for (const auto& name : cases_of(vectors_)) {
      SCOPED_TRACE(name + "." + precision + (in.format == at::MemoryFormat::ChannelsLast ? " in channels last" : ""));
      const auto detector = detector_with_weights(vectors_);
      detector->to(in.type);
      detector->train();
      const auto images = vectors_.tensors.at("x_" + name).to(in.type).contiguous(in.format);
      const auto raw = detector->forward(images);
      if (in.type == at::kFloat)
        compare_raw(compare, "train outputs", *detector, raw, vectors_, "train_" + name + ".");
      const auto result = loss_of(*detector, images, raw);
      const auto where = name + "." + precision;
      compare_loss(compare, where, result, vectors_.manifest.at("loss").at(where), detector->family());
      result.total.backward();
      compare_gradients(compare, *detector, vectors_, name, precision);
      auto state = state_of(*detector);
      const auto prefix = "bn_after_" + name + ".";
      for (const auto& [key, value] : vectors_.tensors)
        if (key.starts_with(prefix))
          compare.tensors("running statistics", key, state.at(key.substr(prefix.size())), value, 1e-4);
    }
  }
}

/// Norms by key of `state`, and of its distance from `start`.
void compare_state(Comparison& compare, const Tensors& state, const Tensors& start, const Vectors& vectors,
                   const std::string& norms_key, const std::string& distances_key) {
  const auto& keys = vectors.manifest.at("sgd_keys");
  const auto& distances = vectors.tensors.at(distances_key);
  const double floor = 1e-6 * distances.max().item<double>();
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto key = keys[i].get<std::string>();
    const auto row = static_cast<int64_t>(i);
    const auto value = state.at(key).detach().to(at::kDouble);
    if (const auto norms = vectors.tensors.find(norms_key); norms != vectors.tensors.end())
      compare.number("norms after 3 steps", key, value.norm().item<double>(), norms->second[row].item<double>(), 1e-4,
                     1e-6);
    const double moved = (value - start.at(key).to(at::kDouble)).norm().item<double>();
    // What rounding moves counts for nothing: an average of equal values may differ from them in the last bit.
    const double rounding = 1e-6 * value.norm().item<double>();
    compare.number(distances_key, key, moved, distances[row].item<double>(), 3e-3, floor + rounding);
  }
}

TEST_P(PublishedModel, TakesTheSameSteps) {
  if (!vectors_.manifest.contains("sgd")) GTEST_SKIP() << "no steps in these vectors";
  Comparison compare(name_);
  const auto& sgd = vectors_.manifest.at("sgd");
  // In double precision, so that this CPU's rounding is left out: a fresh network multiplies it step by step, and an anchor
  // goes to another box. The reference's own, in float, has grown to 1.6e-4 of a loss by the third step.
  const auto detector = detector_with_weights(vectors_), average = detector_with_weights(vectors_);
  for (const auto& network : {detector, average}) network->to(at::kDouble);
  detector->train();
  Tensors start;
  for (const auto& [key, value] : state_of(*detector)) start.emplace(key, value.detach().clone());
  Ema ema(*detector, average, published_decay);
  const auto optimizer = make_sgd(group_parameters(*detector), sgd.at("weight_decay").get<double>());
  const double lr = sgd.at("lr");
  const StepRates rates{.lr = {lr, lr, lr}, .momentum = sgd.at("momentum")};
  std::vector<at::Tensor> trainable;
  for (const auto& parameter : detector->parameters())
    if (parameter.requires_grad()) trainable.push_back(parameter);

  const auto images = vectors_.tensors.at(sgd.at("input").get<std::string>()).to(at::kDouble);
  const auto& steps = sgd.at("losses");
  EXPECT_EQ(steps.size(), sgd.at("steps").get<size_t>());
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto where = "step " + std::to_string(i + 1);
    const double grown = i == 0 ? 1 : 5;
    const auto result = loss_of(*detector, images, detector->forward(images));
    compare_loss(compare, where, result, steps[i], detector->family(), grown * 1e-4);
    result.total.backward();
    const double norm = clip_gradients(trainable, sgd.at("clip_grad_norm"));
    compare.number("norm before clipping", where, norm, steps[i].at("grad_norm_before_clip"), grown * 1e-3);
    optimizer->step(rates);
    ema.update();
    for (const auto& parameter : trainable) parameter.mutable_grad().reset();
  }
  compare_state(compare, state_of(*detector), start, vectors_, "sgd.after.norm", "sgd.after.delta_norm");
  compare_state(compare, state_of(*ema.model()), start, vectors_, "", "sgd.ema.delta_norm");
}

/// Every manifest on the CPU and, where there is one, on a GPU.
std::vector<ModelCase> model_cases() {
  std::vector<ModelCase> cases;
  for (const auto& path : manifests(Kind::model)) {
    cases.emplace_back(path, at::kCPU);
    if (!find_gpus().found.empty()) cases.emplace_back(path, at::kCUDA);
  }
  return cases;
}

std::string model_case_name(const ::testing::TestParamInfo<ModelCase>& info) {
  const auto& [path, device] = info.param;
  return case_name({path, info.index}) + (device == at::kCUDA ? "_on_a_gpu" : "");
}

INSTANTIATE_TEST_SUITE_P(Vectors, PublishedModel, ::testing::ValuesIn(model_cases()), model_case_name);

class PublishedPostprocessing : public ::testing::TestWithParam<fs::path> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PublishedPostprocessing);

TEST_P(PublishedPostprocessing, SuppressesTheSameBoxes) {
  const auto vectors = load(GetParam());
  Comparison compare(GetParam().stem().string());
  const std::map<std::string, DetectOptions> settings = {
      {"conf25_iou45", {.conf = 0.25F, .iou = 0.45F}},
      {"conf001_iou70_multi", {.conf = 0.001F, .iou = 0.70F, .multi_label = true}},
      {"conf25_iou45_agnostic", {.conf = 0.25F, .iou = 0.45F, .class_agnostic = true}}};
  for (const auto& [name, options] : settings) {
    const auto detections = suppress(vectors.tensors.at("nms.pred_v8"), options);
    for (size_t i = 0; i < detections.size(); ++i) {
      const auto key = "nms." + name + ".img" + std::to_string(i);
      compare.tensors("suppression", key, detections[i], vectors.tensors.at(key), 1e-4);
    }
  }
}

TEST_P(PublishedPostprocessing, FindsTheSameTruePositivesAndPrecision) {
  const auto vectors = load(GetParam());
  const auto& expected = vectors.manifest.at("map");
  Comparison compare(GetParam().stem().string());
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
    const auto& own = metrics.classes[i];
    const auto name = "class " + std::to_string(i);
    for (size_t t = 0; t < kIouThresholds; ++t)
      compare.number("average precision", name, own.ap[t],
                     ap[static_cast<int64_t>(i)][static_cast<int64_t>(t)].item<double>(), 0, 1e-6);
    compare.number("precision, recall, F1", name, own.precision, expected.at("precision").at(i), 0, 1e-4);
    compare.number("precision, recall, F1", name, own.recall, expected.at("recall").at(i), 0, 1e-4);
    compare.number("precision, recall, F1", name, own.f1, expected.at("f1").at(i), 0, 1e-4);
  }
  compare.number("average precision", "mAP50", metrics.map50, expected.at("map50"), 0, 1e-6);
  compare.number("average precision", "mAP50-95", metrics.map50_95, expected.at("map50_95"), 0, 1e-6);
}

TEST_P(PublishedPostprocessing, MeasuresTheSameOverlaps) {
  const auto vectors = load(GetParam());
  Comparison compare(GetParam().stem().string());
  const auto a = xywh_to_xyxy(vectors.tensors.at("iou.a_xywh")), b = xywh_to_xyxy(vectors.tensors.at("iou.b_xywh"));
  compare.tensors("overlaps", "IoU", box_iou(a, b), vectors.tensors.at("iou.iou"), 1e-5);
  compare.tensors("overlaps", "CIoU", box_ciou(a, b), vectors.tensors.at("iou.ciou"), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Vectors, PublishedPostprocessing, ::testing::ValuesIn(manifests(Kind::postprocessing)),
                         case_name);

TEST(Parity, KnowsAllVectorsThatThereAre) {
  if (!fs::is_directory(vectors_folder()))
    GTEST_SKIP() << "no vectors of the published implementations: set TENFOLD_VECTORS to their folder";
  EXPECT_FALSE(manifests(Kind::model).empty() && manifests(Kind::postprocessing).empty())
      << "nothing to compare with in " << vectors_folder();
  for (const auto& path : manifests(Kind::unknown)) ADD_FAILURE() << path << ": neither of a model nor of post-processing";
}

}  // namespace
}  // namespace tenfold
