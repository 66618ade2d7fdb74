#include "convolution.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>

#include "depthwise.h"
#include "full_precision.h"

namespace tenfold {
namespace {

/// A 1x1 kernel of one CPU thread with fewer than 16 images is computed by ATen in a slow way of its own, unless it is
/// dilated; in training it is, which means nothing to such a kernel, and oneDNN computes it (YOLOv8n, 8 images: a step takes
/// 0.86 of the time). Exported networks are not.
int64_t dilation_of(const at::Tensor& x, const at::Tensor& weight) {
  const bool pointwise = weight.size(2) == 1 && weight.size(3) == 1;
  return x.is_cpu() && pointwise && at::GradMode::is_enabled() ? 2 : 1;
}

}  // namespace

at::Tensor convolve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Sliding& sliding) {
  const auto [stride, padding, groups] = sliding;
  if (x.is_cuda() && is_depthwise(weight, groups) && !CompiledDepthwise::wanted()) {
    return convolve_depthwise(x, weight, bias, stride, padding);
  }
  const int64_t dilation = dilation_of(x, weight);
  return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding}, {dilation, dilation}, groups);
}

at::Tensor convolve_exactly(torch::nn::Conv2dImpl& conv, const at::Tensor& x) {
  const FullPrecisionScope scope;
  return convolve(full_precision(x), conv.weight, conv.bias, {});
}

}  // namespace tenfold
