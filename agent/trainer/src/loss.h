// The training loss of a detector, from raw head maps and labels.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "head_layout.h"
#include "loss_items.h"

namespace tenfold {

struct LossResult {
  at::Tensor total;  ///< scalar; call backward() on it
  at::Tensor items;  ///< one value a name of loss_item_names(), with the gains applied; detached
};

/// A batch's loss before it is divided.
struct LossTerms {
  at::Tensor sums;         ///< (T) sums over the batch with their gains; they carry the gradient
  at::Tensor normalisers;  ///< (K) numbers without gradient that decide what the sums are divided by; the first is the
                           ///< number of images; they add up over the parts of a batch
};

/// Sum of a small tensor over all ranks (an all-reduce); the identity where there is one rank.
using SumOverRanks = std::function<at::Tensor(at::Tensor)>;

/// Weights of the items, as the loss applies them. See gains_of() for what users write.
struct LossGains {
  double box = 7.5;
  double cls = 0.5;
  double dfl = 1.5;
  double obj = 1.0;              ///< v5
  double label_smoothing = 0.0;  ///< v5: how much of a class's certainty is spread out
};

/// Loss of a batch that may be in parts: spread over ranks, or over micro-batches of a rank, or both.
///
/// The algebra. Let n_p be the sums of part p's terms, b_p its images, and s_p a number that they are divided by, such
/// as the sum of its target scores. The loss of the whole batch in one part is L = B · Σn_p / S with B = Σb_p and
/// S = max(Σs_p, 1). With W ranks, each part returns total_p = W · B · n_p / S. Gradients add up over the parts of a
/// rank, and DDP averages them over the ranks: (1/W) Σ ∇total_p = B · Σ∇n_p / S = ∇L, exactly the gradient of the whole
/// batch in one part (S carries no gradient). Likewise items_p = W · n_p / S, so that their sum over a rank's parts,
/// averaged over the ranks, is that of the whole batch. A loss may have several n and several S.
///
/// One all-reduce of the few normalisers is all the ranks exchange, so every rank must call over_ranks() equally often.
class DetectionLoss {
 public:
  virtual ~DetectionLoss() = default;

  /// The undivided loss of one part. `raw` as Detector::forward returns it for B images of `height` x `width` pixels;
  /// half precision is computed in float. `targets` (M, 6): image index in the part, class, cx, cy, w, h normalised to
  /// the input. Where gradients are off only `normalisers` is of use, and it costs little more than the assignment.
  virtual LossTerms terms(const std::vector<at::Tensor>& raw, const at::Tensor& targets, int height, int width) = 0;

  /// The sum over all ranks of this rank's normalisers (K), with the number of ranks appended: (K + 1).
  at::Tensor over_ranks(const at::Tensor& normalisers) const;

  /// The loss of one part, `whole` being what over_ranks() gave for all of them.
  LossResult divide(const LossTerms& part, const at::Tensor& whole) const;

  /// The loss of a batch that is one part a rank.
  LossResult operator()(const std::vector<at::Tensor>& raw, const at::Tensor& targets, int height, int width);

  void set_sum_over_ranks(SumOverRanks sum) { sum_over_ranks_ = std::move(sum); }

 protected:
  /// The items (I) from the sums (T) and the whole batch's normalisers (K + 1).
  virtual at::Tensor items(const at::Tensor& sums, const at::Tensor& whole) const = 0;

 private:
  SumOverRanks sum_over_ranks_;
};

/// The values of a LossResult's items, or of sums of them. Waits for the device.
LossItems named_items(Family family, const at::Tensor& items);

/// The loss that belongs to these heads.
std::unique_ptr<DetectionLoss> make_detection_loss(const HeadLayout& layout, const LossGains& gains = {});

}  // namespace tenfold
