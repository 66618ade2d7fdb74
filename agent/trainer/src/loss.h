// The training loss of a detector, from raw head maps and labels.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "head_layout.h"

namespace tenfold {

struct LossResult {
  at::Tensor total;  ///< scalar; call backward() on it
  at::Tensor items;  ///< (3) box, cls, dfl with their gains applied; detached
};

/// Sum of a small tensor over all ranks (an all-reduce); the identity where there is one rank.
using SumOverRanks = std::function<at::Tensor(at::Tensor)>;

struct LossGains {
  double box = 7.5;
  double cls = 0.5;
  double dfl = 1.5;
};

/// Loss of a batch that may be spread over ranks.
///
/// The algebra. Let rank r of W hold B_r images, and let n_r be the sum of its weighted terms and s_r the sum of its
/// target scores. The loss of the whole batch on one rank is L = B · Σn_r / S with B = ΣB_r and S = max(Σs_r, 1).
/// Each rank returns total_r = W · B · n_r / S. DDP averages gradients over the ranks, and
/// (1/W) Σ ∇total_r = B · Σ∇n_r / S = ∇L: exactly the gradient of one rank with the whole batch (S carries no
/// gradient). Likewise items_r = W · n_r / S, so that the mean of the items over the ranks is that of the whole batch.
/// One all-reduce of three numbers (s_r, B_r, 1) a call is all the ranks exchange, so every rank must call it equally
/// often; for losses of batches that are not in step (validation) use an object without `set_sum_over_ranks`.
class DetectionLoss {
 public:
  virtual ~DetectionLoss() = default;

  /// `raw` as Detector::forward returns it for a batch of B images of `height` x `width` pixels; half precision is
  /// computed in float. `targets` (M, 6): image index in the batch, class, cx, cy, w, h normalised to the input.
  virtual LossResult operator()(const std::vector<at::Tensor>& raw, const at::Tensor& targets, int height,
                                int width) = 0;

  void set_sum_over_ranks(SumOverRanks sum) { sum_over_ranks_ = std::move(sum); }

 protected:
  SumOverRanks sum_over_ranks_;
};

/// Names of the items, in order.
inline constexpr std::array<std::string_view, 3> kLossItemNames = {"box", "cls", "dfl"};

/// The loss that belongs to these heads.
std::unique_ptr<DetectionLoss> make_detection_loss(const HeadLayout& layout, const LossGains& gains = {});

}  // namespace tenfold
