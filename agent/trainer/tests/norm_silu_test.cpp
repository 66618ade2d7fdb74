#include "norm_silu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "batch_norm.h"

namespace tenfold {
namespace {

constexpr auto kLast = at::MemoryFormat::ChannelsLast;

/// What a norm with SiLU makes of a map, and the gradients of Σ z² w for a fixed w.
struct Outcome {
  at::Tensor z, dx, dweight, dbias, running_mean, running_var, batches;
};

template <typename Forward>
Outcome outcome_of(const at::Tensor& map, const at::Tensor& weights, Forward&& forward) {
  BatchNormImpl norm(torch::nn::BatchNormOptions(map.size(1)).eps(1e-3).momentum(0.03));
  if (map.scalar_type() == at::kDouble) norm.to(at::kDouble);
  {
    const at::NoGradGuard no_grad;
    norm.weight.copy_(at::linspace(0.5, 2, map.size(1)));
    norm.bias.copy_(at::linspace(-1, 1, map.size(1)));
  }
  const at::Tensor x = map.detach().requires_grad_(true);
  const at::Tensor z = forward(norm, x);
  (z.to(map.scalar_type() == at::kDouble ? at::kDouble : at::kFloat).square() * weights).sum().backward();
  return {z.detach(), x.grad(), norm.weight.grad(), norm.bias.grad(), norm.running_mean, norm.running_var,
          norm.num_batches_tracked};
}

Outcome together(const at::Tensor& map, const at::Tensor& weights) {
  return outcome_of(map, weights, [](BatchNormImpl& norm, const at::Tensor& x) { return norm.forward_silu(x); });
}

Outcome apart(const at::Tensor& map, const at::Tensor& weights) {
  return outcome_of(map, weights, [](BatchNormImpl& norm, const at::Tensor& x) { return at::silu(norm.forward(x)); });
}

/// The largest difference, as a share of the largest value.
double distance(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor a = actual.to(at::kDouble), e = expected.to(at::kDouble);
  return (a - e).abs().max().item<double>() / std::max(1.0, e.abs().max().item<double>());
}

/// No farther from what double precision gives than torch's own functions are, but for `floor`.
void expect_as_near(const Outcome& ours, const Outcome& torchs, const Outcome& exact, double floor) {
  const auto expect = [&](const char* what, at::Tensor Outcome::*value) {
    EXPECT_LE(distance(ours.*value, exact.*value), std::max(floor, 1.5 * distance(torchs.*value, exact.*value))) << what;
  };
  expect("output", &Outcome::z);
  expect("map's gradient", &Outcome::dx);
  expect("weight's gradient", &Outcome::dweight);
  expect("bias's gradient", &Outcome::dbias);
  expect("running mean", &Outcome::running_mean);
  expect("running variance", &Outcome::running_var);
  EXPECT_EQ(ours.batches.item<int64_t>(), exact.batches.item<int64_t>());
}

/// Values around 30: a variance from sums of squares would show its rounding.
at::Tensor map_of(at::IntArrayRef shape) { return (at::randn(shape) * 2 + 30).contiguous(kLast); }

TEST(NormSilu, IsABatchNormAndASiluWhateverTheShape) {
  at::manual_seed(5);
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{
           {2, 1, 1, 1}, {1, 3, 2, 1}, {3, 5, 7, 4}, {2, 16, 40, 33}, {1, 48, 100, 61}, {2, 600, 9, 5}, {4, 1280, 2, 2}}) {
    SCOPED_TRACE(at::IntArrayRef(shape));
    const at::Tensor map = map_of(shape), weights = at::rand(shape);
    expect_as_near(together(map, weights), apart(map, weights), apart(map.to(at::kDouble), weights), 2e-6);
  }
}

TEST(NormSilu, OfABfloat16MapIsAsNearToFloatAsTorchsIs) {
  at::manual_seed(6);
  const at::Tensor map = (at::randn({2, 24, 20, 13}) * 2 + 1).to(at::kBFloat16).contiguous(kLast);
  const at::Tensor weights = at::rand({2, 24, 20, 13});
  const Outcome ours = together(map, weights);
  EXPECT_EQ(ours.z.scalar_type(), at::kBFloat16);
  EXPECT_EQ(ours.dx.scalar_type(), at::kBFloat16);
  expect_as_near(ours, apart(map, weights), apart(map.to(at::kDouble), weights), 1e-4);
}

TEST(NormSilu, HasTheSameBitsWithAnyNumberOfThreads) {
  at::manual_seed(7);
  const at::Tensor map = map_of({2, 32, 64, 48}), weights = at::rand({2, 32, 64, 48});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Outcome one = together(map, weights);
  at::set_num_threads(3);
  const Outcome three = together(map, weights);
  at::set_num_threads(threads);
  for (const auto& [a, b] : {std::pair{one.z, three.z}, {one.dx, three.dx}, {one.dweight, three.dweight},
                             {one.dbias, three.dbias}, {one.running_var, three.running_var}}) {
    EXPECT_TRUE(a.equal(b));
  }
}

TEST(NormSilu, LeavesNotANumberInSight) {
  at::Tensor map = map_of({1, 4, 6, 5});
  map[0][1][2][3] = std::numeric_limits<float>::quiet_NaN();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const Outcome seen = together(map.to(type), at::ones({1, 4, 6, 5}));
    EXPECT_TRUE(seen.z[0][1].isnan().all().item<bool>());
    EXPECT_TRUE(seen.dx[0][1].isnan().all().item<bool>());
    EXPECT_TRUE(seen.z[0][0].isfinite().all().item<bool>());
  }
}

TEST(NormSilu, LeavesToTorchWhatItDoesNotTake) {
  at::manual_seed(8);
  const auto takes = [](const at::Tensor& x) {
    const at::Tensor ones = at::ones({x.size(1)});
    return norm_silu_takes(x, {ones, ones, ones, ones, 1e-3, 0.03});
  };
  EXPECT_TRUE(takes(map_of({2, 8, 4, 4})));
  EXPECT_FALSE(takes(at::zeros({2, 8, 4, 4})));                  // channels first
  EXPECT_FALSE(takes(map_of({2, 8, 4, 4}).to(at::kDouble)));
  EXPECT_FALSE(takes(map_of({1, 8, 1, 1})));                     // a single value has no variance
  EXPECT_FALSE(takes(at::zeros({0, 8, 4, 4}).contiguous(kLast)));
  const at::Tensor map = at::randn({2, 8, 4, 4}), weights = at::rand({2, 8, 4, 4});
  EXPECT_TRUE(together(map, weights).dx.equal(apart(map, weights).dx));
}

}  // namespace
}  // namespace tenfold
