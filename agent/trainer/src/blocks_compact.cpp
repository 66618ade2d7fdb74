#include "blocks_compact.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/silu.h>

#include <algorithm>
#include <cmath>

#include "convolution.h"
#include "full_precision.h"

namespace tenfold {
namespace {

constexpr int64_t kHeadChannels = 64;

/// A Conv on each channel by itself.
std::shared_ptr<Conv> depthwise(int64_t channels, int64_t kernel, bool activation = true, int64_t stride = 1) {
  return std::make_shared<Conv>(channels, channels, kernel,
                                ConvOptions{.stride = stride, .groups = channels, .activation = activation});
}

std::shared_ptr<Conv> without_activation(int64_t in, int64_t out) {
  return std::make_shared<Conv>(in, out, 1, ConvOptions{.activation = false});
}

}  // namespace

std::shared_ptr<Chain> separable_conv(int64_t in, int64_t out) {
  return std::make_shared<Chain>(
      std::vector<std::shared_ptr<Block>>{depthwise(in, 3), std::make_shared<Conv>(in, out, 1)});
}

SCDown::SCDown(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  cv1_ = register_module("cv1", std::make_shared<Conv>(in, out, 1));
  cv2_ = register_module("cv2", depthwise(out, kernel, /*activation=*/false, stride));
}

at::Tensor SCDown::forward(const at::Tensor& x) { return cv2_->forward(cv1_->forward(x)); }

WideDepthwise::WideDepthwise(int64_t channels) {
  wide_ = register_module("conv", depthwise(channels, 7, /*activation=*/false));
  narrow_ = register_module("conv1", depthwise(channels, 3, /*activation=*/false));
}

at::Tensor WideDepthwise::forward(const at::Tensor& x) {
  if (!may_fold()) return at::silu(wide_->forward(x) + narrow_->forward(x));
  const auto wide = wide_->folded(), narrow = narrow_->folded();
  const auto weight = wide.weight + at::constant_pad_nd(narrow.weight, {2, 2, 2, 2});  // 3x3 in the middle of 7x7
  auto y = convolve(x, weight, wide.bias + narrow.bias, {.padding = 3, .groups = x.size(1)});
  return at::silu_(y);
}

CIB::CIB(int64_t channels, bool shortcut, bool large_kernel) : shortcut_(shortcut) {
  const int64_t middle = 2 * channels;
  std::vector<std::shared_ptr<Block>> links = {depthwise(channels, 3), std::make_shared<Conv>(channels, middle, 1)};
  if (large_kernel) {
    links.push_back(std::make_shared<WideDepthwise>(middle));
  } else {
    links.push_back(depthwise(middle, 3));
  }
  links.push_back(std::make_shared<Conv>(middle, channels, 1));
  links.push_back(depthwise(channels, 3));
  chain_ = register_module("cv1", std::make_shared<Chain>(std::move(links)));
}

at::Tensor CIB::forward(const at::Tensor& x) {
  const auto y = chain_->forward(x);
  return shortcut_ ? x + y : y;
}

Attention::Attention(int64_t channels, int64_t heads)
    : heads_(heads), value_channels_(channels / heads), key_channels_(value_channels_ / 2) {
  qkv_ = register_module("qkv", without_activation(channels, heads * (value_channels_ + 2 * key_channels_)));
  proj_ = register_module("proj", without_activation(channels, channels));
  pe_ = register_module("pe", depthwise(channels, 3, /*activation=*/false));
}

/// Scaled dot-product attention (Vaswani et al., 2017) of queries and keys (B, heads, K, N) and values (B, heads, V, N),
/// as large as these.
at::Tensor Attention::attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values) const {
  const FullPrecisionScope scope;  // bfloat16 rounds the weights that softmax makes of large scores to a few steps
  const auto scaled = full_precision(queries).transpose(2, 3) * (1.0 / std::sqrt(static_cast<double>(key_channels_)));
  const auto weights = scaled.matmul(full_precision(keys)).softmax(-1);  // (B, heads, N, N)
  return full_precision(values).matmul(weights.transpose(2, 3));
}

at::Tensor Attention::forward(const at::Tensor& x) {
  const auto parts = qkv_->forward(x).flatten(2).unflatten(1, {heads_, -1}).split_with_sizes(
      {key_channels_, key_channels_, value_channels_}, 2);  // each (B, heads, …, H * W)
  const auto values = parts[2];
  return proj_->forward(attend(parts[0], parts[1], values).reshape_as(x) + pe_->forward(values.reshape_as(x)));
}

int64_t PSA::heads_of(int64_t channels) { return std::max<int64_t>(1, channels / 2 / kHeadChannels); }

PSA::PSA(int64_t channels) : hidden_(channels / 2) {
  cv1_ = register_module("cv1", std::make_shared<Conv>(channels, 2 * hidden_, 1));
  cv2_ = register_module("cv2", std::make_shared<Conv>(2 * hidden_, channels, 1));
  attn_ = register_module("attn", std::make_shared<Attention>(hidden_, heads_of(channels)));
  ffn_ = register_module("ffn", std::make_shared<Chain>(std::vector<std::shared_ptr<Block>>{
                                    std::make_shared<Conv>(hidden_, 2 * hidden_, 1),
                                    without_activation(2 * hidden_, hidden_)}));
}

at::Tensor PSA::forward(const at::Tensor& x) {
  const auto halves = cv1_->forward(x).split(hidden_, 1);
  auto attended = halves[1] + attn_->forward(halves[1]);
  attended = attended + ffn_->forward(attended);
  return cv2_->forward(at::cat({halves[0], attended}, 1));
}

}  // namespace tenfold
