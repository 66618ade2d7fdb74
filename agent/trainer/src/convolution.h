#pragma once

#include <torch/nn/modules/conv.h>

namespace tenfold {

/// Steps and borders that are the same both ways.
struct Sliding {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t groups = 1;
};

/// What `weight` (out, in / groups, H, W), and `bias` where it is defined, make of `x` (B, in, H, W).
at::Tensor convolve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Sliding& sliding);

/// What the last convolution of a head, 1x1, makes of `x`: in float under autocast, too, for a loss cannot be more exact
/// than the numbers that it is given, and bfloat16 has 8 bits for them.
at::Tensor convolve_exactly(torch::nn::Conv2dImpl& conv, const at::Tensor& x);

}  // namespace tenfold
