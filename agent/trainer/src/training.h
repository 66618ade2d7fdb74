#pragma once

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "background_writer.h"
#include "checkpoint.h"
#include "collective.h"
#include "config.h"
#include "control.h"
#include "dataset.h"
#include "device.h"
#include "ema.h"
#include "events.h"
#include "gradient_pass.h"
#include "loader.h"
#include "loss.h"
#include "model.h"
#include "optim.h"
#include "progress.h"
#include "rank_environment.h"
#include "run_record.h"
#include "schedule.h"
#include "validate.h"

namespace tenfold {

/// Everything that a training consists of, on one rank. The parts are built by prepare(); the loop moves them on. It is
/// never destroyed while other ranks may be gone: Gloo's destructors would wait for them.
struct Training {
  Config config;
  RankEnvironment env;
  EventSink& events;
  Requests& requests;
  OnStall on_stall;  // of the ranks' collectives

  ComputeDevice device;
  std::future<std::unique_ptr<Communicator>> joining;  // the rendezvous, while other things are built
  bool joined = false;
  std::unique_ptr<Communicator> ranks;
  std::unique_ptr<GradientExchange> exchange;
  std::unique_ptr<GradientPass> gradients;  // uses the two above, the model and the loss

  std::optional<Dataset> data;
  int loader_threads = 1;
  int64_t cache_bytes = 0;  // that decoded pictures in memory can grow to
  std::unique_ptr<Loader> loader;
  std::unique_ptr<Validator> validator;  // made after the first step

  std::shared_ptr<Detector> model;
  std::vector<at::Tensor> trainable;  // parameters that get gradients
  bool checkpoint_asked = false;  // in the last step of an epoch
  std::vector<at::Tensor> statistics;  // the model's running ones
  std::vector<at::Tensor> statistics_before;  // as they were before the step that is under way
  std::unique_ptr<DetectionLoss> loss;
  TrainArguments args;  // config.train with `auto` resolved
  int64_t device_batch = 0;  // images that a pass of this rank takes at most
  Schedule schedule;
  std::unique_ptr<Optimizer> optimizer;
  std::optional<Ema> ema;
  NamedTensors best;  // weights of the best epoch so far; rank 0 alone
  Metadata weights_metadata;
  int64_t transferred = 0;

  Progress progress;
  at::Tensor loss_sums;        // (items) those of this rank, summed since progress.epoch was last brought up to date
  int64_t loss_steps = 0;      // steps in loss_sums
  bool introduced = false;     // the model was told and the run folder begun
  int skipped_in_a_row = 0;    // steps whose gradient was not finite
  /// Steps and finished epochs at the newest checkpoint that was begun or resumed from.
  std::pair<int64_t, int64_t> saved_at{-1, -1};
  std::optional<Metrics> best_details;  // of the best weights, if this process validated them; rank 0 alone
  std::unique_ptr<RunRecord> record;    // rank 0 alone; before the writer, whose last job may use it
  std::optional<CheckpointRotation> checkpoints;  // the writer's thread alone uses it
  std::optional<BackgroundWriter> writer;

  Training(Config config, RankEnvironment env, EventSink& events, Requests& requests)
      : config(std::move(config)), env(std::move(env)), events(events), requests(requests), on_stall([](const auto&) {}) {}

  bool is_first_rank() const { return env.rank == 0; }
  /// Small gradients become zero in float16, in no other type.
  bool scales_loss() const { return device.autocast == at::kHalf; }
  int64_t samples() const { return data->size(); }
  int64_t batches() const { return (samples() + args.batch - 1) / args.batch; }
};

/// Builds all parts, and meets the other ranks meanwhile. On return the ranks hold the same state, and the loader
/// makes the first batches.
void prepare(Training& training);

/// Another instance of the network, with weights of its own: on the device, in its layout, frozen where it is to be.
std::shared_ptr<Detector> new_network(const Training& training);

/// Sets how many epochs the training has: under a limit of time, their number is found out on the way.
void plan_epochs(Training& training, int64_t epochs);

/// Has the loader make the batches of the cursor's epoch from its offset on.
void start_epoch(Training& training);

/// Brings what differs between ranks (running statistics of batch norms, loss sums) to the mean over the ranks. All
/// ranks call it at the same step boundary; afterwards they are replicas of each other, as after a resume.
void settle_replicas(Training& training);

/// Has rank 0 write a checkpoint of this step boundary in the background, unless that was done already. The ranks must
/// be settled.
void save_checkpoint(Training& training);

/// Overwrites a model's parameters and buffers. Throws TrainerError(bad_checkpoint) unless names and shapes match.
void copy_into(Detector& model, const NamedTensors& saved);

/// Copies of a model's parameters and buffers on the CPU.
NamedTensors copy_of_state(const Detector& model);

}  // namespace tenfold
