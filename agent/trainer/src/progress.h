#pragma once

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "events.h"
#include "loss_scale.h"

namespace tenfold {

/// One line of results.csv.
struct EpochRow {
  int64_t epoch = 1;
  double time_s = 0;  // since the start of the job, over all attempts
  LossItems train;
  std::optional<MetricSummary> metrics;
  std::optional<LossItems> val;
  std::array<double, 3> lr{};
};

/// What is known of an epoch that is under way.
struct EpochSums {
  LossItems loss;  // summed over the epoch's steps so far, each the mean over the ranks
  int64_t steps = 0;
  int64_t images = 0;
  double seconds = 0;  // spent training, over all attempts
};

/// How far a training is: plain data, the same on all ranks, and with the tensors all that a resume needs.
struct Progress {
  int64_t step = 0;  // optimizer steps done since the start of the job
  Cursor cursor;
  int64_t finished_epochs = 0;  // those that were validated and written to `history`
  int64_t planned_epochs = 0;   // how many fit a limit of time, as far as known; 0: as the arguments say
  EpochSums epoch;
  LossScale loss_scale;
  double best_fitness = -1;
  int64_t best_epoch = 0;
  double seconds = 0;  // of finished epochs, validation included
  double validation_seconds = 0;  // what the last epoch's took of that
  std::vector<EpochRow> history;
};

/// What decides which weights are best: mostly mAP50-95, a little mAP50, as YOLO tools weigh them.
double fitness_of(const MetricSummary& metrics);

nlohmann::json to_json(const Progress& progress);
/// Throws nlohmann::json::exception on anything unexpected.
Progress progress_from_json(const nlohmann::json& json);

}  // namespace tenfold
