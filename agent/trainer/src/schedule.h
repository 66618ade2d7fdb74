#pragma once

#include <array>
#include <cstdint>

#include "train_arguments.h"

namespace tenfold {

/// Groups of parameters with rates of their own, in the order of `lr/pg0..2` in results.csv.
enum ParameterGroup : int { kBiases = 0, kWeights = 1, kNorms = 2 };

/// Learning rates by parameter group, and the momentum (AdamW: beta1), of one optimizer step.
struct StepRates {
  std::array<double, 3> lr{};
  double momentum = 0;
};

/// What the schedule depends on; constant over a job, whatever its ranks and restarts.
struct Schedule {
  int64_t epochs = 100;
  int64_t batches = 1;  // optimizer steps an epoch
  double lr0 = 0.01;
  double lrf = 0.01;
  bool cosine = false;
  double momentum = 0.937;
  double warmup_epochs = 3;
  double warmup_momentum = 0.8;
  double warmup_bias_lr = 0.1;
};

Schedule schedule_of(const TrainArguments& arguments, int64_t batches);

/// Share of lr0 in epoch `epoch` (from 1): falls from 1 towards lrf, linearly or along half a cosine.
double decay_at(const Schedule& schedule, int64_t epoch);

/// Steps over which the rates warm up: warmup_epochs' worth, at least 100; none when warmup_epochs is 0.
int64_t warmup_steps(const Schedule& schedule);

/// Rates of the step with index `step` (from 0, over all attempts). Weights warm up from 0, biases from warmup_bias_lr,
/// the momentum from warmup_momentum, all linearly by step; then the decay of the step's epoch holds.
StepRates rates_at(const Schedule& schedule, int64_t step);

}  // namespace tenfold
