#include "blocks.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <torch/nn/modules/container/modulelist.h>

#include <string>

#include "convolution.h"

namespace tenfold {
namespace {

constexpr double kBatchNormEps = 1e-3;
constexpr double kBatchNormMomentum = 0.03;

}  // namespace

bool Block::may_fold() const { return !is_training() && !at::GradMode::is_enabled(); }

Chain::Chain(std::vector<std::shared_ptr<Block>> links) : links_(std::move(links)) {
  for (size_t i = 0; i < links_.size(); ++i) register_module(std::to_string(i), links_[i]);
}

at::Tensor Chain::forward(const at::Tensor& x) {
  auto y = x;
  for (const auto& link : links_) y = link->forward(y);
  return y;
}

Conv::Conv(int64_t in, int64_t out, int64_t kernel, const ConvOptions& options)
    : options_(options), padding_((kernel - 1) / 2) {
  conv_ = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel)
                                                        .stride(options.stride)
                                                        .padding(padding_)
                                                        .groups(options.groups)
                                                        .bias(false)));
  bn_ = register_module(
      "bn", BatchNorm(torch::nn::BatchNormOptions(out).eps(kBatchNormEps).momentum(kBatchNormMomentum)));
}

at::Tensor Conv::forward(const at::Tensor& x) {
  if (may_fold()) {
    // Costs a pass over the weights and saves one over the (much larger) activations.
    const auto [weight, bias] = folded();
    auto y = convolve(x, weight, bias, {options_.stride, padding_, options_.groups});
    return options_.activation ? at::silu_(y) : y;
  }
  const auto y = convolve(x, conv_->weight, {}, {options_.stride, padding_, options_.groups});
  return options_.activation ? bn_->forward_silu(y) : bn_->forward(y);
}

/// The batch norm is an affine map of the convolution's output.
Conv::Folded Conv::folded() const {
  const auto scale = bn_->weight * at::rsqrt(bn_->running_var + bn_->options.eps());  // (out)
  return {conv_->weight * scale.view({-1, 1, 1, 1}), bn_->bias - bn_->running_mean * scale};
}

Bottleneck::Bottleneck(int64_t channels, bool shortcut, int64_t first_kernel) : shortcut_(shortcut) {
  cv1_ = register_module("cv1", std::make_shared<Conv>(channels, channels, first_kernel));
  cv2_ = register_module("cv2", std::make_shared<Conv>(channels, channels, 3));
}

at::Tensor Bottleneck::forward(const at::Tensor& x) {
  const auto y = cv2_->forward(cv1_->forward(x));
  return shortcut_ ? x + y : y;
}

C2f::C2f(int64_t in, int64_t out, int repeats, const LinkMaker& make_link) : hidden_(out / 2) {
  cv1_ = register_module("cv1", std::make_shared<Conv>(in, 2 * hidden_, 1));
  cv2_ = register_module("cv2", std::make_shared<Conv>((2 + repeats) * hidden_, out, 1));
  const auto chain = register_module("m", torch::nn::ModuleList());
  for (int i = 0; i < repeats; ++i) {
    chain_.push_back(make_link(hidden_));
    chain->push_back(chain_.back());
  }
}

at::Tensor C2f::forward(const at::Tensor& x) {
  // Not the two halves as one: the way back from a slice of them would fill, copy and add all of both.
  std::vector<at::Tensor> joined = cv1_->forward(x).split(hidden_, 1);
  auto link = joined.back();
  for (const auto& block : chain_) {
    link = block->forward(link);
    joined.push_back(link);
  }
  return cv2_->forward(at::cat(joined, 1));
}

C3::C3(int64_t in, int64_t out, int repeats, bool shortcut) {
  const int64_t hidden = out / 2;
  cv1_ = register_module("cv1", std::make_shared<Conv>(in, hidden, 1));
  cv2_ = register_module("cv2", std::make_shared<Conv>(in, hidden, 1));
  cv3_ = register_module("cv3", std::make_shared<Conv>(2 * hidden, out, 1));
  std::vector<std::shared_ptr<Block>> links;
  for (int i = 0; i < repeats; ++i) links.push_back(std::make_shared<Bottleneck>(hidden, shortcut, 1));
  chain_ = register_module("m", std::make_shared<Chain>(std::move(links)));
}

at::Tensor C3::forward(const at::Tensor& x) {
  return cv3_->forward(at::cat({chain_->forward(cv1_->forward(x)), cv2_->forward(x)}, 1));
}

SPPF::SPPF(int64_t in, int64_t out, int64_t kernel) : kernel_(kernel) {
  cv1_ = register_module("cv1", std::make_shared<Conv>(in, in / 2, 1));
  cv2_ = register_module("cv2", std::make_shared<Conv>(in / 2 * 4, out, 1));
}

at::Tensor SPPF::forward(const at::Tensor& x) {
  std::vector<at::Tensor> pyramid = {cv1_->forward(x)};
  for (int i = 0; i < 3; ++i)
    pyramid.push_back(at::max_pool2d(pyramid.back(), {kernel_, kernel_}, {1, 1}, {kernel_ / 2, kernel_ / 2}));
  return cv2_->forward(at::cat(pyramid, 1));
}

}  // namespace tenfold
