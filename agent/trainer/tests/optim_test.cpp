#include "optim.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "ema.h"
#include "exit_code.h"

namespace tenfold {
namespace {

/// Groups that hold one parameter alone, in the given group.
std::array<NamedParameters, 3> only(ParameterGroup group, const at::Tensor& parameter) {
  std::array<NamedParameters, 3> groups;
  groups[group] = {{"p"}, {parameter}};
  return groups;
}

at::Tensor parameter_with_gradient(double value, double gradient) {
  at::Tensor parameter = at::full({1}, value).set_requires_grad(true);
  parameter.mutable_grad() = at::full({1}, gradient);
  return parameter;
}

StepRates rates(double lr, double momentum) { return {{lr, lr, lr}, momentum}; }

TEST(Sgd, TakesNesterovStepsByHand) {
  const at::Tensor p = parameter_with_gradient(1.0, 0.5);
  const auto sgd = make_sgd(only(kNorms, p), /*weight_decay=*/0.1);
  sgd->step(rates(0.1, 0.9));
  // v = 0.5; p = 1 - 0.1 (0.5 + 0.9 * 0.5)
  EXPECT_NEAR(p.item<double>(), 0.905, 1e-6);
  sgd->step(rates(0.1, 0.9));
  // v = 0.9 * 0.5 + 0.5 = 0.95; p = 0.905 - 0.1 (0.5 + 0.9 * 0.95)
  EXPECT_NEAR(p.item<double>(), 0.7695, 1e-6);
}

TEST(Sgd, OnlyWeightsDecay) {
  for (const ParameterGroup group : {kBiases, kWeights, kNorms}) {
    const at::Tensor p = parameter_with_gradient(1.0, 0.0);
    make_sgd(only(group, p), 0.1)->step(rates(0.5, 0.0));
    EXPECT_NEAR(p.item<double>(), group == kWeights ? 0.95 : 1.0, 1e-6);
  }
}

TEST(AdamW, TakesStepsByHand) {
  const at::Tensor p = parameter_with_gradient(1.0, 0.5);
  const auto adam = make_adamw(only(kWeights, p), 0.1);
  adam->step(rates(0.01, 0.9));
  // The first step is lr * sign(gradient), after the decay p *= 1 - lr * decay.
  EXPECT_NEAR(p.item<double>(), 0.999 - 0.01, 1e-6);
}

TEST(Adam, ItsDecayIsPartOfTheGradient) {
  const at::Tensor p = parameter_with_gradient(1.0, 0.0);
  make_adam(only(kWeights, p), 0.1)->step(rates(0.01, 0.9));
  // The gradient is the decay alone, so the first step is lr whatever its size.
  EXPECT_NEAR(p.item<double>(), 1 - 0.01, 1e-6);
}

std::unique_ptr<Optimizer> optimizer_of(const std::string& name, const at::Tensor& parameter) {
  if (name == "SGD") return make_sgd(only(kWeights, parameter), 0.1);
  return name == "Adam" ? make_adam(only(kWeights, parameter), 0.1) : make_adamw(only(kWeights, parameter), 0.1);
}

TEST(Optimizer, ItsStepIsTheSameHoweverParameterAndGradientLieInMemory) {
  at::manual_seed(1);
  const at::Tensor value = at::randn({5, 7, 3, 3}), gradient = at::randn_like(value);
  const auto after_steps = [&](const char* name, at::MemoryFormat of_parameter, at::MemoryFormat of_gradient) {
    at::Tensor p = value.clone(of_parameter).set_requires_grad(true);
    p.mutable_grad() = gradient.clone(of_gradient);
    const auto optimizer = optimizer_of(name, p);
    for (int i = 0; i < 3; ++i) optimizer->step(rates(0.1, 0.9));
    return p.detach();
  };
  constexpr auto kFirst = at::MemoryFormat::Contiguous, kLast = at::MemoryFormat::ChannelsLast;
  for (const char* name : {"SGD", "AdamW", "Adam"}) {
    const at::Tensor expected = after_steps(name, kFirst, kFirst);
    EXPECT_FALSE(expected.equal(value));
    EXPECT_TRUE(at::allclose(after_steps(name, kLast, kLast), expected, 0, 1e-6)) << name;
    EXPECT_TRUE(at::allclose(after_steps(name, kLast, kFirst), expected, 0, 1e-6)) << name;
    EXPECT_TRUE(at::allclose(after_steps(name, kFirst, kLast), expected, 0, 1e-6)) << name;
  }
}

TEST(Optimizer, StateComesBackAndMakesTheSameStep) {
  for (const char* name : {"SGD", "AdamW", "Adam"}) {
    const at::Tensor a = parameter_with_gradient(1.0, 0.5);
    const at::Tensor b = parameter_with_gradient(1.0, 0.5);
    const auto first = optimizer_of(name, a);
    first->step(rates(0.1, 0.9));
    const auto second = optimizer_of(name, b);
    second->load_state(first->state());
    b.data().copy_(a);
    first->step(rates(0.1, 0.9));
    second->step(rates(0.1, 0.9));
    EXPECT_TRUE(a.equal(b)) << name;
    EXPECT_THROW(second->load_state({}), TrainerError);
  }
}

TEST(Optimizer, AutoIsAdamWForShortFineTuningOnly) {
  TrainArguments arguments;
  arguments.epochs = 100, arguments.batch = arguments.nbs = 64;
  EXPECT_EQ(resolve_optimizer(arguments, false, 2'000, 5).optimizer, "SGD");
  EXPECT_EQ(resolve_optimizer(arguments, true, 6'400, 5).optimizer, "SGD");
  const TrainArguments tuned = resolve_optimizer(arguments, true, 2'000, 6);
  EXPECT_EQ(tuned.optimizer, "AdamW");
  EXPECT_DOUBLE_EQ(tuned.lr0, 0.001);
  arguments.batch = 16;
  EXPECT_DOUBLE_EQ(resolve_optimizer(arguments, true, 2'000, 6).lr0, 0.00025) << "four steps instead of one";
  arguments.batch = 128;
  EXPECT_DOUBLE_EQ(resolve_optimizer(arguments, true, 6'400, 6).lr0, 0.001) << "half of the steps are few enough";
  arguments.optimizer = "AdamW";
  EXPECT_DOUBLE_EQ(resolve_optimizer(arguments, true, 2'000, 6).lr0, 0.01);
}

TEST(Optimizer, DecayFollowsTheBatch) {
  TrainArguments arguments;
  arguments.batch = 64;
  EXPECT_DOUBLE_EQ(scaled_weight_decay(arguments), 0.0005);
  arguments.batch = 16;
  EXPECT_DOUBLE_EQ(scaled_weight_decay(arguments), 0.000125);
}

TEST(ClipGradients, ScalesToTheNormAndSparesWhatIsNotFinite) {
  const at::Tensor a = parameter_with_gradient(0, 30);
  const at::Tensor b = parameter_with_gradient(0, 40);
  EXPECT_NEAR(clip_gradients({a, b}, 10), 50, 1e-4);
  EXPECT_NEAR(a.grad().item<double>(), 6, 1e-4);
  EXPECT_NEAR(b.grad().item<double>(), 8, 1e-4);
  EXPECT_NEAR(clip_gradients({a, b}, 10), 10, 1e-4);
  EXPECT_NEAR(b.grad().item<double>(), 8, 1e-4);
  EXPECT_NEAR(clip_gradients({a, b}, 0), 10, 1e-4) << "no limit";
  EXPECT_NEAR(b.grad().item<double>(), 8, 1e-4);
  b.mutable_grad().fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(std::isnan(clip_gradients({a, b}, 10)));
  EXPECT_TRUE(std::isnan(clip_gradients({a, b}, 0)));
  EXPECT_NEAR(a.grad().item<double>(), 6, 1e-4);
}

TEST(ClipGradients, TakesTheScaleOfTheLossOut) {
  const at::Tensor a = parameter_with_gradient(0, 3 * 1024);
  const at::Tensor b = parameter_with_gradient(0, 4 * 1024);
  EXPECT_NEAR(clip_gradients({a, b}, 10, 1024), 5, 1e-4);
  EXPECT_NEAR(a.grad().item<double>(), 3, 1e-4);
  a.mutable_grad().fill_(30 * 1024);
  b.mutable_grad().fill_(40 * 1024);
  EXPECT_NEAR(clip_gradients({a, b}, 10, 1024), 50, 1e-3);
  EXPECT_NEAR(b.grad().item<double>(), 8, 1e-4) << "and clips";
  b.mutable_grad().fill_(std::numeric_limits<double>::infinity());
  EXPECT_FALSE(std::isfinite(clip_gradients({a, b}, 10, 1024)));
}

TEST(Ema, DecayGrowsWithTheNumberOfUpdates) {
  EXPECT_DOUBLE_EQ(published_decay(0), 0);
  EXPECT_NEAR(published_decay(2000), 0.9999 * (1 - 1 / M_E), 1e-12);
  EXPECT_NEAR(published_decay(1'000'000), 0.9999, 1e-12);
  EXPECT_DOUBLE_EQ(history_decay(0), 0.1);
  EXPECT_DOUBLE_EQ(history_decay(390), 391.0 / 400) << "looks back 44 steps";
  for (const int64_t updates : {20'000, 1'000'000}) EXPECT_DOUBLE_EQ(history_decay(updates), published_decay(updates));
}

TEST(Ema, FollowsWeightsAndRunningStatistics) {
  const ModelSpec spec = load_model_spec("yolov8n");
  const auto model = build_detector(spec, 2);
  Ema ema(*model, build_detector(spec, 2));
  const auto weight = [](const Detector& d) { return d.named_parameters()["model.0.conv.weight"].detach(); };
  const auto mean = [](const Detector& d) { return d.named_buffers()["model.0.bn.running_mean"]; };
  const at::Tensor before = weight(*model).clone();
  EXPECT_TRUE(weight(*ema.model()).equal(before));
  weight(*model).add_(1);
  mean(*model).fill_(2);
  ema.update();
  const double share = 1 - history_decay(1);
  EXPECT_TRUE(at::allclose(weight(*ema.model()), before + share, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(mean(*ema.model()), at::full_like(mean(*model), 2 * share), 1e-5, 1e-6));
}

TEST(ParameterGroups, EveryTrainableParameterIsInOneOfThem) {
  const auto model = build_detector(load_model_spec("yolov8n"), 2);
  const auto groups = group_parameters(*model);
  size_t trainable = 0;
  for (const at::Tensor& parameter : model->parameters()) trainable += parameter.requires_grad() ? 1 : 0;
  EXPECT_EQ(groups[0].tensors.size() + groups[1].tensors.size() + groups[2].tensors.size(), trainable);
  for (const std::string& name : groups[kBiases].names) EXPECT_TRUE(name.ends_with(".bias")) << name;
  for (const at::Tensor& weight : groups[kWeights].tensors) EXPECT_EQ(weight.dim(), 4);
  for (const std::string& name : groups[kNorms].names) EXPECT_TRUE(name.ends_with(".bn.weight")) << name;
}

}  // namespace
}  // namespace tenfold
