#pragma once

#include <torch/nn/modules/conv.h>

namespace tenfold {

/// What `conv` makes of `x` in training.
at::Tensor convolve(torch::nn::Conv2dImpl& conv, const at::Tensor& x);

/// What the last convolution of a head makes of `x`: in float under autocast, too, for a loss cannot be more exact than
/// the numbers that it is given, and bfloat16 has 8 bits for them.
at::Tensor convolve_exactly(torch::nn::Conv2dImpl& conv, const at::Tensor& x);

}  // namespace tenfold
