#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "background_writer.h"
#include "dataset.h"
#include "event_file.h"
#include "events.h"
#include "loader.h"
#include "metrics.h"
#include "progress.h"

namespace tenfold {

/// What rank 0 keeps in the run folder for people beside the weights: results.csv, TensorBoard's events, plots and
/// pictures. All of it is drawn and written in the background. What cannot be drawn is told as a warning and ends
/// nothing; results.csv alone must be written.
class RunRecord {
 public:
  RunRecord(std::filesystem::path run_dir, std::vector<std::string> class_names, BackgroundWriter& writer,
            EventSink& events);

  /// args.yaml's text, and labels.jpg of the training data.
  void begin(std::string args_yaml, const Dataset& train);

  /// Whether training_batch() would draw a batch: the first three are drawn.
  bool wants_training_batch() const { return training_batches_ < kDrawnBatches; }
  void training_batch(const Batch& batch);

  /// After each epoch, and where a training goes on, with all epochs so far.
  void epoch(std::vector<EpochRow> history);

  /// metrics.json, curves and confusion matrices of the weights that come out, and their table as an event.
  void evaluation(const Metrics& metrics, int64_t epoch);

  /// Runs `draw` now. What it throws becomes a warning that names `what`.
  void attempt(const std::string& what, const std::function<void()>& draw);

  /// When nothing more will change: writes what is due, waits for it, and tells of every file that was not told yet.
  void finish(const std::vector<EpochRow>& history);

  static constexpr int kDrawnBatches = 3;

 private:
  void in_background(const std::string& what, std::function<void()> draw);
  void write(const std::string& name, std::span<const uint8_t> content);
  void announce(FileDigest file);
  void write_events(const std::vector<EpochRow>& history);

  const std::filesystem::path run_dir_;
  const std::vector<std::string> class_names_;
  BackgroundWriter& writer_;
  EventSink& events_;
  int training_batches_ = 0;

  // Used by the writer's thread alone, until finish() has waited for it.
  std::unique_ptr<EventFile> event_file_;
  std::optional<std::chrono::steady_clock::time_point> results_drawn_;
  std::map<std::string, std::string> announced_;  // SHA-256 by name
};

}  // namespace tenfold
