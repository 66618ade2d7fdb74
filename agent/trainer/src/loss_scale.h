#pragma once

#include <cstdint>

namespace tenfold {

/// The factor that keeps small gradients from becoming zero in float16: losses are multiplied by it, gradients divided
/// (Micikevicius et al., Mixed Precision Training, 2018). It is halved by a step whose gradients overflow, which is left
/// out, and doubled after 2,000 good ones in a row. Plain data, the same on all ranks, and part of a checkpoint.
struct LossScale {
  double value = 65'536;
  int64_t good_steps = 0;

  void update(bool overflowed);
};

}  // namespace tenfold
