#include "gradient_pass.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>

#include "model.h"
#include "on_ranks.h"

namespace tenfold {
namespace {

using testing::copy_of;
using testing::on_ranks;
using testing::slice_for;

const ComputeDevice kPlain{};  // float, on the CPU
const ComputeDevice kChannelsLast{.memory_format = at::MemoryFormat::ChannelsLast};

/// Images that differ in their number of objects; one has none.
Batch random_batch() {
  at::manual_seed(3);
  Batch batch;
  batch.images = at::randint(0, 256, {8, 3, 64, 64}, at::kByte);
  batch.targets = at::rand({9, 6}) * 0.4 + 0.3;
  batch.targets.select(1, 0).copy_(at::tensor({0, 0, 1, 2, 2, 2, 3, 5, 7}));
  batch.targets.select(1, 1).copy_(at::tensor({0, 1, 2, 0, 1, 2, 0, 1, 2}));
  return batch;
}

struct Outcome {
  std::vector<at::Tensor> gradients;
  at::Tensor items;
};

/// Runs steps of `parts` passes on this rank's slice; the last one's outcome.
Outcome run_passes(Communicator& ranks, Detector& model, const Batch& whole, int64_t parts, int steps = 1,
            const ComputeDevice& device = kPlain) {
  std::vector<at::Tensor> trainable;
  for (const at::Tensor& parameter : model.parameters()) {
    if (parameter.requires_grad()) trainable.push_back(parameter);
  }
  const auto loss = make_detection_loss(model.head_layout());
  loss->set_sum_over_ranks([&](at::Tensor tensor) { return ranks.sum(std::move(tensor)); });
  const auto exchange = ranks.exchange_gradients(trainable, {});
  GradientPass pass(model, *loss, *exchange, device);
  Outcome outcome;
  for (int step = 0; step < steps; ++step) {
    for (const at::Tensor& parameter : trainable) parameter.mutable_grad().reset();
    int exchanges = 0;
    outcome.items = pass.run(slice_for(whole, ranks), {.parts = parts}, [&] { ++exchanges; }).items;
    EXPECT_EQ(exchanges, 1);
  }
  for (const at::Tensor& parameter : trainable) outcome.gradients.push_back(parameter.grad());
  return outcome;
}

void expect_equal(const Outcome& actual, const Outcome& expected) {
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    const double scale = std::max(expected.gradients[i].abs().max().item<double>(), 1.0);
    EXPECT_LT((actual.gradients[i] - expected.gradients[i]).abs().max().item<double>() / scale, 1e-5)
        << "parameter " << i;
  }
}

/// A network of the family whose batch norms have fixed statistics: the same function however a batch is cut.
std::shared_ptr<Detector> fixed_network(const std::string& name) {
  at::manual_seed(3);
  auto model = build_detector(load_model_spec(name), 3);
  model->eval();
  return model;
}

class GradientPassOf : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(EveryFamily, GradientPassOf, ::testing::Values("yolov5n", "yolov8n", "yolov10n"));

TEST_P(GradientPassOf, PartsIsThatOfTheWholeBatch) {
  const Batch batch = random_batch();
  const auto model = fixed_network(GetParam());
  const Outcome whole = run_passes(*alone(), *model, batch, 1);
  for (const int64_t parts : {3, 4}) {
    const Outcome accumulated = run_passes(*alone(), *model, batch, parts);
    expect_equal(accumulated, whole);
    EXPECT_TRUE(at::allclose(accumulated.items, whole.items, 1e-5, 1e-6)) << accumulated.items << whole.items;
  }
}

TEST_P(GradientPassOf, TwoRanksInPartsIsThatOfOneStepAfterStep) {
  const Batch batch = random_batch();
  const Outcome whole = run_passes(*alone(), *fixed_network(GetParam()), batch, 1);
  for (const int64_t parts : {1, 3}) {
    const std::array<std::shared_ptr<Detector>, 2> replicas = {fixed_network(GetParam()), fixed_network(GetParam())};
    std::array<Outcome, 2> outcomes;
    on_ranks(2, [&](Communicator& ranks) {
      const auto rank = static_cast<size_t>(ranks.rank());
      outcomes[rank] = run_passes(ranks, *replicas[rank], batch, parts, /*steps=*/3);
    });
    expect_equal(outcomes[0], whole);
    for (size_t i = 0; i < whole.gradients.size(); ++i) {
      EXPECT_TRUE(outcomes[0].gradients[i].equal(outcomes[1].gradients[i])) << "replicas differ in parameter " << i;
    }
    const at::Tensor items = (outcomes[0].items + outcomes[1].items) / 2;
    EXPECT_TRUE(at::allclose(items, whole.items, 1e-5, 1e-6)) << items << whole.items;
  }
}

TEST(GradientPass, RunningStatisticsFollowEveryPartOnce) {
  const Batch batch = random_batch();
  const auto model = build_detector(load_model_spec("yolov8n"), 3);
  const auto by_hand = copy_of(*model);
  run_passes(*alone(), *model, batch, 2);
  for (const Batch& part : parts_of(batch, 2)) by_hand->forward(network_input(part.images, kPlain));
  const auto expected = by_hand->named_buffers();
  for (const auto& item : model->named_buffers()) {
    EXPECT_TRUE(at::allclose(item.value(), expected[item.key()], 1e-4, 1e-5)) << item.key();
  }
}

TEST(GradientPass, GradientsLieAsTheirWeightsDo) {
  const Batch batch = random_batch();
  const auto model = build_detector(load_model_spec("yolov8n"), 3);
  for (const at::Tensor& parameter : model->parameters()) {
    if (parameter.dim() == 4) at::Tensor(parameter).set_data(laid_out(parameter.detach(), at::MemoryFormat::ChannelsLast));
  }
  const Outcome outcome = run_passes(*alone(), *model, batch, 2, /*steps=*/1, kChannelsLast);
  size_t i = 0;
  for (const auto& item : model->named_parameters()) {
    if (!item.value().requires_grad()) continue;
    EXPECT_EQ(outcome.gradients[i++].strides(), item.value().strides()) << item.key();
  }
}

TEST(GradientPass, CutsASliceInOrderAndTargetsWithTheirImages) {
  const Batch batch = random_batch();
  const std::vector<Batch> parts = parts_of(batch, 3);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[0].images.size(0), 3);
  EXPECT_EQ(parts[2].images.size(0), 2);
  EXPECT_TRUE(parts[1].images[0].equal(batch.images[3]));
  EXPECT_TRUE(parts[1].targets.select(1, 0).equal(at::tensor({0.F, 2.F}))) << "images 3 and 5 of the batch";
  EXPECT_TRUE(parts[1].targets.narrow(1, 1, 5).equal(batch.targets.narrow(0, 6, 2).narrow(1, 1, 5)));
  EXPECT_EQ(parts_of(batch, 10).back().images.size(0), 0) << "more parts than images";
}

}  // namespace
}  // namespace tenfold
