#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model.h"

namespace tenfold {

/// The decay of an average at its n-th update: 1 / (1 - decay) is about the number of steps that it looks back.
using DecayRamp = double (*)(int64_t updates);

/// That of the published YOLO trainers, 0.9999 (1 - exp(-n / 2000)), made for hundreds of thousands of steps: after 400 it
/// looks back a single step, so that the weights that are validated and kept jump about as the trained ones do.
double published_decay(int64_t updates);

/// The published ramp, but never less than (1 + n) / (10 + n), that of TensorFlow's ExponentialMovingAverage: at any length
/// of a training the average looks back a ninth of it. From some 15,000 steps on it is the published one.
double history_decay(int64_t updates);

/// Exponential moving average of a model's weights and buffers, itself a model: the one that is validated and kept.
class Ema {
 public:
  /// Starts as a copy of `model`; `average` is a second instance of the same network.
  Ema(const Detector& model, std::shared_ptr<Detector> average, DecayRamp ramp = history_decay);

  /// Moves the average towards `model`. Its decay grows with the number of updates, so that the random start is soon
  /// forgotten.
  void update();

  const std::shared_ptr<Detector>& model() const { return average_; }
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

 private:
  std::shared_ptr<Detector> average_;
  std::vector<at::Tensor> from_;  // floating-point parameters and buffers of the model
  std::vector<at::Tensor> to_;    // those of the average, in the same order
  DecayRamp ramp_;
  int64_t updates_ = 0;
};

}  // namespace tenfold
