#include "loss_scale.h"

namespace tenfold {
namespace {

constexpr int64_t kGrowthInterval = 2000;
/// Doubling for ever would make the scale itself infinite where gradients are zero.
constexpr double kMostScale = 16'777'216;

}  // namespace

void LossScale::update(bool overflowed) {
  if (overflowed) {
    value /= 2;
    good_steps = 0;
  } else if (++good_steps == kGrowthInterval) {
    if (value < kMostScale) value *= 2;
    good_steps = 0;
  }
}

}  // namespace tenfold
