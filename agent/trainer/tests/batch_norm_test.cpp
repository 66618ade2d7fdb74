#include "batch_norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "on_ranks.h"

namespace tenfold {
namespace {

using ::tenfold::testing::copy_of;
using ::tenfold::testing::gradients_of_slices;
using ::tenfold::testing::on_ranks;

constexpr int kChannels = 5;
/// Images of each rank; the second has none.
constexpr std::array<int64_t, 3> kSlices = {2, 0, 5};

torch::nn::BatchNormOptions norm_options() { return torch::nn::BatchNormOptions(kChannels).eps(1e-3).momentum(0.03); }

/// What a batch norm makes of pictures, and the gradients of Σ y² w for a fixed w.
struct NormOutcome {
  at::Tensor y, dx, dweight, dbias, running_mean, running_var;
};

template <typename Norm>
NormOutcome norm_outcome(Norm& norm, const at::Tensor& pictures, const at::Tensor& weights) {
  const at::Tensor x = pictures.detach().requires_grad_(true);
  const at::Tensor y = norm.forward(x);
  (y.square() * weights).sum().backward();
  return {y.detach(), x.grad(), norm.weight.grad(), norm.bias.grad(), norm.running_mean, norm.running_var};
}

template <typename Norm>
void give_weights(Norm& norm, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  norm.to(type);
  norm.weight.copy_(at::linspace(0.5, 2, kChannels));
  norm.bias.copy_(at::linspace(-1, 1, kChannels));
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance, const char* what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  if (actual.numel() == 0) return;
  const double scale = std::max(1.0, expected.abs().max().item<double>());
  EXPECT_LT((actual - expected).abs().max().item<double>() / scale, tolerance) << what;
}

void expect_slices_are_as_the_whole(at::ScalarType type, at::MemoryFormat format, double tolerance) {
  at::manual_seed(5);
  // Far from zero, so that a variance from sums of squares would show its rounding.
  const at::Tensor pictures = (at::randn({7, kChannels, 4, 6}, at::kDouble) * 2 + 30).to(type).contiguous(format);
  const at::Tensor weights = at::rand({7, kChannels, 4, 6}, at::kDouble).to(type);
  torch::nn::BatchNorm2dImpl plain(norm_options());
  give_weights(plain, type);
  const NormOutcome whole = norm_outcome(plain, pictures, weights);

  std::array<NormOutcome, 3> parts;
  on_ranks(3, [&](Communicator& ranks) {
    const auto rank = static_cast<size_t>(ranks.rank());
    int64_t first = 0;
    for (size_t r = 0; r < rank; ++r) first += kSlices[r];
    BatchNormImpl norm(norm_options());
    give_weights(norm, type);
    norm.share_with(&ranks);
    parts[rank] = norm_outcome(norm, pictures.narrow(0, first, kSlices[rank]).contiguous(format),
                             weights.narrow(0, first, kSlices[rank]));
  });
  expect_close(at::cat({parts[0].y, parts[1].y, parts[2].y}), whole.y, tolerance, "output");
  expect_close(at::cat({parts[0].dx, parts[1].dx, parts[2].dx}), whole.dx, tolerance, "input's gradient");
  expect_close(parts[0].dweight + parts[1].dweight + parts[2].dweight, whole.dweight, tolerance, "weight's gradient");
  expect_close(parts[0].dbias + parts[1].dbias + parts[2].dbias, whole.dbias, tolerance, "bias's gradient");
  for (const NormOutcome& part : parts) {
    expect_close(part.running_mean, whole.running_mean, tolerance, "running mean");
    expect_close(part.running_var, whole.running_var, tolerance, "running variance");
    EXPECT_TRUE(part.running_var.equal(parts[0].running_var)) << "the ranks' statistics differ";
  }
}

TEST(BatchNorm, SlicesOfRanksAreNormalisedAsTheWholeBatch) {
  expect_slices_are_as_the_whole(at::kDouble, at::MemoryFormat::Contiguous, 1e-12);
  expect_slices_are_as_the_whole(at::kFloat, at::MemoryFormat::Contiguous, 1e-5);
  expect_slices_are_as_the_whole(at::kFloat, at::MemoryFormat::ChannelsLast, 1e-5);
}

TEST(BatchNorm, ABatchWithoutPicturesLeavesNoTrace) {
  const at::Tensor nothing = at::zeros({0, kChannels, 3, 3}).set_requires_grad(true);
  const auto expect_untouched = [&](BatchNormImpl& norm) {
    const at::Tensor y = norm.forward(nothing);
    EXPECT_EQ(y.sizes(), nothing.sizes());
    y.sum().backward();
    EXPECT_EQ(norm.weight.grad().abs().sum().item<double>(), 0);
    EXPECT_TRUE(norm.running_mean.equal(at::zeros({kChannels})));
    EXPECT_TRUE(norm.running_var.equal(at::ones({kChannels})));
    EXPECT_EQ(norm.num_batches_tracked.item<int64_t>(), 0);
  };
  BatchNormImpl own(norm_options());
  expect_untouched(own);
  const auto ranks = alone();
  BatchNormImpl shared(norm_options());
  shared.share_with(ranks.get());
  expect_untouched(shared);
}

TEST(BatchNorm, ASinglePixelOfOnePictureIsNormalisedByTheRunningStatistics) {
  for (const bool silu : {false, true}) {
    BatchNormImpl norm(norm_options());
    at::Tensor pixel = at::full({1, kChannels, 1, 1}, 3.0).set_requires_grad(true);
    const at::Tensor y = silu ? norm.forward_silu(pixel) : norm.forward(pixel);
    const at::Tensor normalised = at::full_like(pixel, 3 / std::sqrt(1 + 1e-3));
    EXPECT_TRUE(at::allclose(y, silu ? at::silu(normalised) : normalised));
    y.sum().backward();
    EXPECT_GT(pixel.grad().min().item<double>(), 0);
    EXPECT_TRUE(norm.running_mean.equal(at::zeros({kChannels})));
  }
}

TEST(BatchNorm, IsTorchsOwnInEvalModeAndAlone) {
  const at::Tensor pictures = at::randn({2, kChannels, 3, 3});
  torch::nn::BatchNorm2dImpl plain(norm_options());
  BatchNormImpl norm(norm_options());
  EXPECT_TRUE(norm.forward(pictures).equal(plain.forward(pictures)));
  const auto ranks = alone();
  norm.share_with(ranks.get());
  norm.eval();
  plain.eval();
  EXPECT_TRUE(norm.forward(pictures).equal(plain.forward(pictures)));
}

// --- A whole network ------------------------------------------------------------------------------------------------

/// Images that differ in their number of objects, the last with none.
Batch global_batch() {
  at::manual_seed(3);
  Batch batch;
  batch.images = at::rand({6, 3, 64, 64}, at::kDouble);
  batch.targets = at::rand({8, 6}) * 0.4 + 0.3;
  batch.targets.select(1, 0).copy_(at::tensor({0, 0, 1, 2, 2, 3, 4, 4}));
  batch.targets.select(1, 1).copy_(at::tensor({0, 1, 2, 0, 1, 2, 0, 1}));
  return batch;
}

/// In double precision, so that what is seen is the exchange's doing and not rounding's.
std::vector<at::Tensor> network_gradients(Communicator& ranks, Detector& model, const Batch& batch) {
  model.to(at::kDouble);
  share_batch_statistics(model, &ranks);
  return gradients_of_slices(ranks, model, batch);
}

class NetworkWithSharedStatistics : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(EveryFamily, NetworkWithSharedStatistics, ::testing::Values("yolov5n", "yolov8n", "yolov10n"));

TEST_P(NetworkWithSharedStatistics, HasTheGradientsOfOneRankWithTheWholeBatch) {
  const Batch batch = global_batch();
  const auto model = build_detector(load_model_spec(GetParam()), 3);
  const std::array replicas = {copy_of(*model), copy_of(*model)};
  const std::vector<at::Tensor> expected = network_gradients(*alone(), *model, batch);
  std::array<std::vector<at::Tensor>, 2> actual;
  on_ranks(2, [&](Communicator& ranks) {
    const auto rank = static_cast<size_t>(ranks.rank());
    actual[rank] = network_gradients(ranks, *replicas[rank], batch);
  });
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(actual[0][i].equal(actual[1][i])) << "replicas differ in parameter " << i;
    const double norm = std::max(expected[i].norm().item<double>(), 1.0);
    EXPECT_LT((actual[0][i] - expected[i]).norm().item<double>() / norm, 1e-5) << "parameter " << i;
  }
}

}  // namespace
}  // namespace tenfold
