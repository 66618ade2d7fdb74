#include "convolution.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "depthwise.h"
#include "device.h"

namespace tenfold {
namespace {

struct Convolved {
  at::Tensor y, dx, dweight;
};

/// Of an arbitrary gradient of the output.
template <typename Convolution>
Convolved convolved(const at::Tensor& input, const at::Tensor& kernel, Convolution&& convolution) {
  const at::Tensor x = input.detach().clone().requires_grad_(), weight = kernel.detach().clone().requires_grad_();
  const at::Tensor y = convolution(x, weight);
  (y.to(at::kDouble) * at::arange(y.numel(), at::kDouble).view(y.sizes()).sin()).sum().backward();
  return {y.detach(), x.grad(), weight.grad()};
}

// These are kernels for GPUs, but what is around them can be seen on any device.
class DepthwiseSliding : public ::testing::TestWithParam<Sliding> {};
INSTANTIATE_TEST_SUITE_P(Each, DepthwiseSliding,
                         ::testing::Values(Sliding{1, 1, 6}, Sliding{2, 1, 6}, Sliding{1, 3, 6}, Sliding{2, 0, 6}));

TEST_P(DepthwiseSliding, IsTheConvolutionOfEachChannelForwardAndBackward) {
  const auto [stride, padding, groups] = GetParam();
  at::manual_seed(1);
  const at::Tensor x = at::randn({2, 6, 9, 11}, at::kDouble).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor weight = at::randn({6, 1, 3, 3}, at::kDouble);
  const auto expected = convolved(x, weight, [&](const at::Tensor& input, const at::Tensor& kernel) {
    return at::conv2d(input, kernel, {}, {stride, stride}, {padding, padding}, {1, 1}, groups);
  });
  const auto actual = convolved(x, weight, [&](const at::Tensor& input, const at::Tensor& kernel) {
    return convolve_depthwise(input, kernel, {}, stride, padding);
  });
  EXPECT_TRUE(actual.y.allclose(expected.y, 1e-12, 1e-12));
  EXPECT_TRUE(actual.dx.allclose(expected.dx, 1e-12, 1e-12));
  EXPECT_TRUE(actual.dweight.allclose(expected.dweight, 1e-12, 1e-12));
  EXPECT_TRUE(actual.y.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(actual.dx.is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(Depthwise, ComputesInAutocastsTypeAndLeavesGradientsInTheParameters) {
  at::manual_seed(2);
  const at::Tensor x = at::randn({2, 4, 8, 8}), weight = at::randn({4, 1, 3, 3});
  ComputeDevice device;
  device.autocast = at::kBFloat16;
  const AutocastScope autocast(device);
  const auto half = convolved(x, weight, [](const at::Tensor& input, const at::Tensor& kernel) {
    return convolve_depthwise(input, kernel, {}, 1, 1);
  });
  EXPECT_EQ(half.y.scalar_type(), at::kBFloat16);
  EXPECT_EQ(half.dx.scalar_type(), at::kFloat);
  EXPECT_EQ(half.dweight.scalar_type(), at::kFloat);
  EXPECT_GT(half.dweight.norm().item<double>(), 0);
}

TEST(Depthwise, AddsABiasWithAndWithoutGradients) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({1, 4, 5, 5}), weight = at::randn({4, 1, 3, 3}), bias = at::randn({4});
  const at::Tensor expected = at::conv2d(x, weight, bias, 1, 1, 1, 4);
  EXPECT_TRUE(convolve_depthwise(x, weight, bias, 1, 1).allclose(expected, 1e-5, 1e-5));
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(convolve_depthwise(x, weight, bias, 1, 1).allclose(expected, 1e-5, 1e-5));
}

TEST(Depthwise, AreConvolutionsWithAsManyGroupsAsChannels) {
  EXPECT_TRUE(is_depthwise(at::empty({8, 1, 3, 3}), 8));
  EXPECT_FALSE(is_depthwise(at::empty({16, 1, 3, 3}), 8)) << "two maps of every channel";
  EXPECT_FALSE(is_depthwise(at::empty({8, 2, 3, 3}), 4));
  EXPECT_FALSE(is_depthwise(at::empty({1, 1, 3, 3}), 1)) << "one channel: an ordinary convolution";
}

TEST(Depthwise, AreCompiledForWithinAScopeOfThisThread) {
  EXPECT_FALSE(CompiledDepthwise::wanted());
  {
    const CompiledDepthwise training(true);
    EXPECT_TRUE(CompiledDepthwise::wanted());
    std::thread([] { EXPECT_FALSE(CompiledDepthwise::wanted()); }).join();
    const CompiledDepthwise rest_of_the_epoch(false);
    EXPECT_FALSE(CompiledDepthwise::wanted());
  }
  EXPECT_FALSE(CompiledDepthwise::wanted());
}

TEST(Depthwise, AreCompiledForInLongTrainings) {
  EXPECT_TRUE(pays_to_compile(100 * 5'000, 640));
  EXPECT_FALSE(pays_to_compile(30 * 292, 320)) << "over in seconds";
  EXPECT_TRUE(pays_to_compile(30'000, 640));
  EXPECT_FALSE(pays_to_compile(30'000, 320)) << "a quarter of the work";
}

}  // namespace
}  // namespace tenfold
