#include "ema.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace tenfold {

double published_decay(int64_t updates) { return 0.9999 * (1 - std::exp(-static_cast<double>(updates) / 2000)); }

double history_decay(int64_t updates) {
  const auto n = static_cast<double>(updates);
  return std::max(published_decay(updates), std::min((1 + n) / (10 + n), 0.9999));
}

Ema::Ema(const Detector& model, std::shared_ptr<Detector> average, DecayRamp ramp)
    : average_(std::move(average)), ramp_(ramp) {
  const at::NoGradGuard no_grad;
  const auto from = named_state(model);
  const auto to = named_state(*average_);
  for (size_t i = 0; i < from.size(); ++i) {
    to[i].second.copy_(from[i].second);
    if (!from[i].second.is_floating_point()) continue;
    from_.push_back(from[i].second);
    to_.push_back(to[i].second);
  }
  for (at::Tensor& parameter : average_->parameters()) parameter.set_requires_grad(false);
  average_->eval();
}

void Ema::update() {
  const at::NoGradGuard no_grad;
  ++updates_;
  at::_foreach_lerp_(to_, from_, 1 - ramp_(updates_));
}

}  // namespace tenfold
