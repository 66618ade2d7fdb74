#include "convolution.h"

#include <ATen/ops/conv2d.h>

#include <array>

#include "full_precision.h"

namespace tenfold {

/// A 1x1 kernel of one CPU thread with fewer than 16 images is computed by ATen in a slow way of its own, unless it is
/// dilated; so it is, which means nothing to such a kernel, and oneDNN computes it (YOLOv8n, 8 images: a step takes 0.86 of
/// the time).
at::Tensor convolve(torch::nn::Conv2dImpl& conv, const at::Tensor& x) {
  const bool pointwise = conv.weight.size(2) == 1 && conv.weight.size(3) == 1;
  if (!x.is_cpu() || !pointwise) return conv.forward(x);
  const at::IntArrayRef stride = *conv.options.stride();
  constexpr std::array<int64_t, 2> kNoPadding{0, 0}, kDilated{2, 2};
  return at::conv2d(x, conv.weight, conv.bias, stride, kNoPadding, kDilated, conv.options.groups());
}

at::Tensor convolve_exactly(torch::nn::Conv2dImpl& conv, const at::Tensor& x) {
  const FullPrecisionScope scope;
  const at::Tensor input = full_precision(x);
  return conv.is_training() ? convolve(conv, input) : conv.forward(input);
}

}  // namespace tenfold
