#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model.h"

namespace tenfold {

/// Exponential moving average of a model's weights and buffers, itself a model: the one that is validated and kept.
class Ema {
 public:
  /// Starts as a copy of `model`; `average` is a second instance of the same network.
  Ema(const Detector& model, std::shared_ptr<Detector> average);

  /// Moves the average towards `model`. Its decay 0.9999 (1 - exp(-n / 2000)) grows with the number n of updates, so
  /// that the random start is soon forgotten.
  void update();

  const std::shared_ptr<Detector>& model() const { return average_; }
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

  static double decay_at(int64_t updates);

 private:
  std::shared_ptr<Detector> average_;
  std::vector<at::Tensor> from_;  // floating-point parameters and buffers of the model
  std::vector<at::Tensor> to_;    // those of the average, in the same order
  int64_t updates_ = 0;
};

/// All parameters, then all buffers, with their published names.
std::vector<std::pair<std::string, at::Tensor>> named_state(const torch::nn::Module& model);

}  // namespace tenfold
