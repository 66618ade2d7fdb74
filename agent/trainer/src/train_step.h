#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "loader.h"
#include "training.h"

namespace tenfold {

/// What the ranks agreed to do at the end of a step.
struct Agreement {
  bool checkpoint = false;
  bool stop = false;
  bool stop_checkpoint = false;
};

/// Tells what an epoch's steps consume and how they go; one object an epoch.
class StepReport {
 public:
  explicit StepReport(Training& training);

  /// Before the step's gradient exchange: the ledger up to and with this batch, if this step will be told or `saved`.
  /// With `saved` it returns only when the ledger is out of this process.
  void before_exchange(const Batch& batch, const Cursor& next, bool last_of_epoch, bool saved);
  /// After the optimizer's step: the step event, if it is due.
  void after_step(const at::Tensor& loss_items, const StepRates& rates, int64_t images, double data_wait_s);

 private:
  using Clock = std::chrono::steady_clock;

  Training& t_;
  int64_t consumed_from_;
  std::vector<int64_t> consumed_ids_;
  bool due_ = false;
  bool told_any_ = false;
  Clock::time_point last_told_ = Clock::now();
  int64_t images_since_ = 0;
};

/// One optimizer step on the ranks' slices of a global batch: forward, loss, exchange, clipping, update, average.
/// Moves the cursor and the step count on. Throws TrainerError(diverged) when gradients stay non-finite.
Agreement train_step(Training& training, const Batch& batch, StepReport& report, double data_wait_s);

}  // namespace tenfold
