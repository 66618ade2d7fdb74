#pragma once

#include <torch/nn/modules/conv.h>

namespace tenfold {

/// What `conv` makes of `x` in training.
at::Tensor convolve(torch::nn::Conv2dImpl& conv, const at::Tensor& x);

}  // namespace tenfold
