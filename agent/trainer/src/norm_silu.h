#pragma once

#include <ATen/core/Tensor.h>

namespace tenfold {

/// A batch norm's parameters and running statistics, each (C) in float.
struct NormState {
  at::Tensor weight, bias, running_mean, running_var;
  double eps = 0;
  double momentum = 0;
};

/// Whether norm_silu() takes a map: float or bfloat16 on a CPU, with more than one value a channel, in channels last alone.
/// A map of one pixel is in channels first as well: there the arithmetic stays ATen's, to the bit.
bool norm_silu_takes(const at::Tensor& x, const NormState& norm);

/// silu(batch_norm(x)) in training, (B, C, H, W): normalised by its own statistics, which the running ones learn from. Of
/// the three maps that a convolution, a batch norm and SiLU make, autograd keeps all but the norm's output: the backward
/// pass computes that again.
at::Tensor norm_silu(const at::Tensor& x, const NormState& norm);

}  // namespace tenfold
