#include "schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tenfold {
namespace {

constexpr int64_t kLeastWarmupSteps = 100;

double between(double from, double to, double share) { return from + (to - from) * share; }

}  // namespace

Schedule schedule_of(const TrainArguments& arguments, int64_t batches) {
  return {.epochs = arguments.epochs,
          .batches = batches,
          .lr0 = arguments.lr0,
          .lrf = arguments.lrf,
          .cosine = arguments.cos_lr,
          .momentum = arguments.momentum,
          .warmup_epochs = arguments.warmup_epochs,
          .warmup_momentum = arguments.warmup_momentum,
          .warmup_bias_lr = arguments.warmup_bias_lr};
}

double decay_at(const Schedule& schedule, int64_t epoch) {
  const double done = static_cast<double>(epoch - 1) / static_cast<double>(schedule.epochs);
  const double height = schedule.cosine ? (1 + std::cos(done * std::numbers::pi)) / 2 : std::max(1 - done, 0.0);
  return between(schedule.lrf, 1, height);
}

int64_t warmup_steps(const Schedule& schedule) {
  if (schedule.warmup_epochs <= 0) return 0;
  const auto steps = std::llround(schedule.warmup_epochs * static_cast<double>(schedule.batches));
  return std::max<int64_t>(steps, kLeastWarmupSteps);
}

StepRates rates_at(const Schedule& schedule, int64_t step) {
  const double lr = schedule.lr0 * decay_at(schedule, step / schedule.batches + 1);
  const int64_t warmup = warmup_steps(schedule);
  if (step >= warmup) return {{lr, lr, lr}, schedule.momentum};
  const double share = static_cast<double>(step) / static_cast<double>(warmup);
  StepRates rates;
  rates.lr[kBiases] = between(schedule.warmup_bias_lr, lr, share);
  rates.lr[kWeights] = between(0, lr, share);
  rates.lr[kNorms] = between(0, lr, share);
  rates.momentum = between(schedule.warmup_momentum, schedule.momentum, share);
  return rates;
}

}  // namespace tenfold
