#include "loss_scale.h"

#include <gtest/gtest.h>

namespace tenfold {
namespace {

TEST(LossScale, HalvesOnOverflowAndDoublesAfterManyGoodSteps) {
  LossScale scale;
  scale.update(true);
  scale.update(true);
  EXPECT_EQ(scale.value, 16'384);
  for (int i = 0; i < 1999; ++i) scale.update(false);
  EXPECT_EQ(scale.value, 16'384);
  scale.update(false);
  EXPECT_EQ(scale.value, 32'768);
  for (int i = 0; i < 1999; ++i) scale.update(false);
  scale.update(true);
  EXPECT_EQ(scale.value, 16'384) << "an overflow begins the count anew";
  EXPECT_EQ(scale.good_steps, 0);
}

TEST(LossScale, DoesNotGrowForEver) {
  LossScale scale;
  for (int i = 0; i < 2000 * 20; ++i) scale.update(false);
  EXPECT_EQ(scale.value, 16'777'216);
}

}  // namespace
}  // namespace tenfold
