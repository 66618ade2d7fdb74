#include "schedule.h"

#include <gtest/gtest.h>

namespace tenfold {
namespace {

/// 10 epochs of 50 steps with 3 epochs of warm-up: 150 steps.
Schedule ten_epochs() { return {.epochs = 10, .batches = 50}; }

TEST(Schedule, FallsLinearlyFromLr0TowardsLrf) {
  const Schedule schedule = ten_epochs();
  EXPECT_DOUBLE_EQ(decay_at(schedule, 1), 1.0);
  EXPECT_DOUBLE_EQ(decay_at(schedule, 6), 0.505);  // half way: (1 + 0.01) / 2
  EXPECT_DOUBLE_EQ(decay_at(schedule, 10), 0.109);  // 0.01 + 0.99 * 0.1
}

TEST(Schedule, FallsAlongHalfACosine) {
  Schedule schedule = ten_epochs();
  schedule.cosine = true;
  EXPECT_DOUBLE_EQ(decay_at(schedule, 1), 1.0);
  EXPECT_NEAR(decay_at(schedule, 6), 0.505, 1e-12);
  EXPECT_NEAR(decay_at(schedule, 3), 0.01 + 0.99 * (1 + 0.8090169943749475) / 2, 1e-12);  // cos(36 degrees)
}

TEST(Schedule, WarmsUpForAtLeastAHundredSteps) {
  EXPECT_EQ(warmup_steps(ten_epochs()), 150);
  Schedule small = ten_epochs();
  small.batches = 5;
  EXPECT_EQ(warmup_steps(small), 100);
  small.warmup_epochs = 0;
  EXPECT_EQ(warmup_steps(small), 0);
}

TEST(Schedule, WarmsUpWeightsFromZeroAndBiasesFromAbove) {
  const Schedule schedule = ten_epochs();
  const StepRates first = rates_at(schedule, 0);
  EXPECT_DOUBLE_EQ(first.lr[kBiases], 0.1);
  EXPECT_DOUBLE_EQ(first.lr[kWeights], 0);
  EXPECT_DOUBLE_EQ(first.lr[kNorms], 0);
  EXPECT_DOUBLE_EQ(first.momentum, 0.8);

  const StepRates half = rates_at(schedule, 75);  // epoch 2, whose decay is 0.901
  EXPECT_DOUBLE_EQ(half.lr[kBiases], (0.1 + 0.00901) / 2);
  EXPECT_DOUBLE_EQ(half.lr[kWeights], 0.00901 / 2);
  EXPECT_DOUBLE_EQ(half.momentum, (0.8 + 0.937) / 2);

  const StepRates after = rates_at(schedule, 150);  // epoch 4
  EXPECT_DOUBLE_EQ(after.lr[kBiases], 0.01 * 0.703);
  EXPECT_DOUBLE_EQ(after.lr[kWeights], 0.01 * 0.703);
  EXPECT_DOUBLE_EQ(after.momentum, 0.937);
}

}  // namespace
}  // namespace tenfold
