#include "loss.h"

#include <ATen/ATen.h>

#include "loss_families.h"

namespace tenfold {

at::Tensor DetectionLoss::over_ranks(const at::Tensor& normalisers) const {
  auto whole = at::cat({normalisers, at::ones({1}, normalisers.options())});
  return sum_over_ranks_ ? sum_over_ranks_(std::move(whole)) : whole;
}

LossResult DetectionLoss::divide(const LossTerms& part, const at::Tensor& whole) const {
  const auto images = whole.select(0, 0), ranks = whole.select(0, -1);
  const auto divided = items(part.sums, whole) * ranks;
  return {divided.sum() * images, divided.detach()};
}

LossResult DetectionLoss::operator()(const std::vector<at::Tensor>& raw, const at::Tensor& targets, int height,
                                     int width) {
  const auto part = terms(raw, targets, height, width);
  return divide(part, over_ranks(part.normalisers));
}

LossItems named_items(Family family, const at::Tensor& items) {
  const auto on_cpu = items.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* values = on_cpu.const_data_ptr<double>();
  return name_loss_items(family, {values, values + on_cpu.numel()});
}

std::unique_ptr<DetectionLoss> make_detection_loss(const HeadLayout& layout, const LossGains& gains) {
  switch (layout.family) {
    case Family::v5:
      return make_anchor_loss(layout, gains);
    case Family::v8:
      return make_task_aligned_loss(layout, gains, {{.topk = 10}});
    case Family::v10:
      return make_task_aligned_loss(layout, gains, {{.topk = 10}, {.topk = 1}});
  }
  throw std::logic_error("a family without a loss");
}

}  // namespace tenfold
