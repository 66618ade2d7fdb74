#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "collective.h"
#include "device.h"
#include "loader.h"
#include "loss.h"
#include "model.h"

namespace tenfold {

struct PassOptions {
  int64_t parts = 1;      // passes of a rank; the same on all ranks
  double loss_scale = 1;  // gradients come multiplied by it
  bool compiled = false;  // kernels may be compiled for the shapes of this slice (see depthwise.h)
};

/// Computes the gradient of a global batch of which this rank holds a slice, the slice cut into as many parts as the
/// device's memory asks for.
///
/// In one part it is one forward and one backward pass. In several, what a loss divides its terms by (see loss.h) must
/// still be summed over the whole batch, and only predictions tell it: so a first run without gradients collects those
/// normalisers, and a second one divides by them. The gradient is that of the whole batch then, up to rounding, and is
/// exchanged once, while the last part's is computed. Batch norms normalise each part by its own statistics, and the
/// running ones follow every part once.
class GradientPass {
 public:
  /// All of them must outlive this.
  GradientPass(Detector& model, DetectionLoss& loss, GradientExchange& exchange, const ComputeDevice& device)
      : model_(model), loss_(loss), exchange_(exchange), device_(device) {}

  /// Adds up the gradients of this rank's slice, which may be empty, and exchanges them. `before_exchange` is called
  /// before the backward pass that exchanges. The items are those of the slice, as in one part.
  LossResult run(const Batch& slice, const PassOptions& options, const std::function<void()>& before_exchange);

 private:
  at::Tensor whole_normalisers(const std::vector<Batch>& parts);

  Detector& model_;
  DetectionLoss& loss_;
  GradientExchange& exchange_;
  const ComputeDevice& device_;
};

/// `slice` in `count` parts of about equal size, in order; images are views.
std::vector<Batch> parts_of(const Batch& slice, int64_t count);

}  // namespace tenfold
