#include "blocks.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <torch/nn/init.h>
#include <torch/utils.h>

#include <cmath>

namespace tenfold {
namespace {

constexpr double kBatchNormEps = 1e-3;
constexpr double kBatchNormMomentum = 0.03;

}  // namespace

Conv::Conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  conv_ = register_module(
      "conv",
      torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false)));
  bn_ = register_module(
      "bn", torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(out).eps(kBatchNormEps).momentum(kBatchNormMomentum)));
}

at::Tensor Conv::forward(const at::Tensor& x) {
  if (!is_training() && !at::GradMode::is_enabled()) return forward_folded(x);
  return at::silu(bn_->forward(conv_->forward(x)));
}

/// Inference only: the batch norm is an affine map of the convolution's output, so it can be folded into the weights.
/// That costs a pass over the weights and saves one over the (much larger) activations.
at::Tensor Conv::forward_folded(const at::Tensor& x) {
  const auto scale = bn_->weight * at::rsqrt(bn_->running_var + bn_->options.eps());  // (out)
  const auto weight = conv_->weight * scale.view({-1, 1, 1, 1});
  const auto bias = bn_->bias - bn_->running_mean * scale;
  const auto& options = conv_->options;
  const auto padding = options.kernel_size()->at(0) / 2;
  auto y = at::conv2d(x, weight, bias, *options.stride(), {padding, padding});
  return at::silu_(y);
}

Bottleneck::Bottleneck(int64_t channels, bool shortcut) : shortcut_(shortcut) {
  cv1_ = register_module("cv1", std::make_shared<Conv>(channels, channels, 3));
  cv2_ = register_module("cv2", std::make_shared<Conv>(channels, channels, 3));
}

at::Tensor Bottleneck::forward(const at::Tensor& x) {
  const auto y = cv2_->forward(cv1_->forward(x));
  return shortcut_ ? x + y : y;
}

C2f::C2f(int64_t in, int64_t out, int repeats, bool shortcut) : hidden_(out / 2) {
  cv1_ = register_module("cv1", std::make_shared<Conv>(in, 2 * hidden_, 1));
  cv2_ = register_module("cv2", std::make_shared<Conv>((2 + repeats) * hidden_, out, 1));
  const auto chain = register_module("m", torch::nn::ModuleList());
  for (int i = 0; i < repeats; ++i) {
    chain_.push_back(std::make_shared<Bottleneck>(hidden_, shortcut));
    chain->push_back(chain_.back());
  }
}

at::Tensor C2f::forward(const at::Tensor& x) {
  const auto both = cv1_->forward(x);
  std::vector<at::Tensor> joined = {both};  // already the two halves side by side
  auto link = both.narrow(1, hidden_, hidden_);
  for (const auto& bottleneck : chain_) {
    link = bottleneck->forward(link);
    joined.push_back(link);
  }
  return cv2_->forward(at::cat(joined, 1));
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

DflBins::DflBins(int bins) {
  conv_ = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(bins, 1, 1).bias(false)));
  conv_->weight.set_data(at::arange(bins, at::kFloat).view({1, bins, 1, 1}));
  conv_->weight.set_requires_grad(false);
}

/// Two 3x3 Convs and a plain 1x1 convolution, numbered 0, 1, 2.
class Detect::Branch : public torch::nn::Module {
 public:
  Branch(int64_t in, int64_t hidden, int64_t out) {
    first_ = register_module("0", std::make_shared<Conv>(in, hidden, 3));
    second_ = register_module("1", std::make_shared<Conv>(hidden, hidden, 3));
    last = register_module("2", torch::nn::Conv2d(torch::nn::Conv2dOptions(hidden, out, 1)));
  }
  at::Tensor forward(const at::Tensor& x) { return last->forward(second_->forward(first_->forward(x))); }

  torch::nn::Conv2d last{nullptr};

 private:
  std::shared_ptr<Conv> first_, second_;
};

Detect::Detect(const std::vector<int64_t>& channels, const std::vector<int>& strides, int nc, int reg_max)
    : layout_{Family::v8, nc, strides, reg_max} {
  const int64_t sides = 4 * reg_max;
  const int64_t box_hidden = std::max({int64_t{16}, channels.front() / 4, sides});
  const int64_t cls_hidden = std::max<int64_t>(channels.front(), std::min(nc, 100));
  const auto box_list = register_module("cv2", torch::nn::ModuleList());
  const auto cls_list = register_module("cv3", torch::nn::ModuleList());
  for (const auto in : channels) {
    box_.push_back(std::make_shared<Branch>(in, box_hidden, sides));
    cls_.push_back(std::make_shared<Branch>(in, cls_hidden, nc));
    box_list->push_back(box_.back());
    cls_list->push_back(cls_.back());
  }
  register_module("dfl", std::make_shared<DflBins>(reg_max));
  initialise_biases();
}

std::vector<at::Tensor> Detect::forward(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> raw;
  for (size_t i = 0; i < inputs.size(); ++i)
    raw.push_back(at::cat({box_[i]->forward(inputs[i]), cls_[i]->forward(inputs[i])}, 1));
  return raw;
}

/// Starts the class scores at the rate of about five objects in an image of 640 pixels, spread over classes and cells,
/// so that the first steps are not spent on learning that most anchors are background.
void Detect::initialise_biases() {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < box_.size(); ++i) {
    const double cells = std::pow(640.0 / layout_.strides[i], 2);
    box_[i]->last->bias.fill_(1.0);
    cls_[i]->last->bias.fill_(std::log(5.0 / layout_.nc / cells));
  }
}

}  // namespace tenfold
