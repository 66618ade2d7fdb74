#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>

#include "collective.h"

namespace tenfold {

/// Batch norm that can take its statistics from the slices of all ranks: a global batch is normalised as if one rank had
/// it whole (synchronised batch norm, Zhang et al., "Context Encoding for Semantic Segmentation", 2018). In eval mode, and
/// until it has ranks to share with, it is torch's own.
class BatchNormImpl : public torch::nn::BatchNorm2dImpl {
 public:
  using torch::nn::BatchNorm2dImpl::BatchNorm2dImpl;

  /// (B, C, H, W) to the same. B may be 0 and may differ between the ranks, which all must call it equally often. Where a
  /// rank by itself has no picture, or one whose map is a single pixel, it takes the running statistics as they are and
  /// leaves no trace in them.
  at::Tensor forward(const at::Tensor& x);

  /// silu(forward(x)); in training on a CPU autograd keeps one map less for it, and it takes less time.
  at::Tensor forward_silu(const at::Tensor& x);

  /// Null: no longer with others. They must outlive its use.
  void share_with(Communicator* ranks) { ranks_ = ranks; }

 private:
  at::Tensor forward_with_others(const at::Tensor& x);

  Communicator* ranks_ = nullptr;
};
TORCH_MODULE(BatchNorm);

/// Has all batch norms of a network take their statistics from the slices of all ranks; null: from their own rank's.
void share_batch_statistics(torch::nn::Module& network, Communicator* ranks);

}  // namespace tenfold
