#include "run_record.h"

#include "batch_picture.h"
#include "file_io.h"
#include "metrics_report.h"
#include "run_folder.h"
#include "run_plots.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// results.png is drawn at most this often: with short epochs it would take a share of the processor.
constexpr auto kResultsInterval = std::chrono::seconds(30);

/// Pictures wait for each other rather than letting the training wait for them: there are not many.
constexpr size_t kBacklog = 16;

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<Scalar> scalars_of(const EpochRow& row) {
  std::vector<Scalar> scalars;
  for (const ResultColumn& column : result_columns(row))
    if (column.value) scalars.push_back({column.name, *column.value});
  return scalars;
}

}  // namespace

RunRecord::RunRecord(fs::path run_dir, std::vector<std::string> class_names, BackgroundWriter& writer, EventSink& events)
    : run_dir_(std::move(run_dir)),
      class_names_(std::move(class_names)),
      writer_(writer),
      events_(events) {
  fs::create_directories(run_dir_);
}

void RunRecord::attempt(const std::string& what, const std::function<void()>& draw) {
  try {
    draw();
  } catch (const std::exception& error) {
    events_.emit(WarningEvent{"not_drawn", what + " could not be made: " + error.what() + "; the training goes on", what});
  }
}

void RunRecord::in_background(const std::string& what, std::function<void()> draw) {
  writer_.submit([this, what, draw = std::move(draw)] { attempt(what, draw); }, kBacklog);
}

void RunRecord::announce(FileDigest file) {
  std::string& told = announced_[file.name];
  if (told == file.sha256) return;
  told = file.sha256;
  events_.emit(ArtifactEvent{std::move(file)});
}

void RunRecord::write(const std::string& name, std::span<const uint8_t> content) {
  announce(replace_file(run_dir_ / name, content));
}

void RunRecord::begin(std::string args_yaml, const Dataset& train) {
  writer_.submit([this, text = std::move(args_yaml)] {
    fs::create_directories(run_dir_ / "weights");
    announce(replace_file(run_dir_ / "args.yaml", text));
  });
  in_background("labels.jpg", [this, train] {
    LabelStatistics statistics(class_names_);
    for (int64_t id = 0; id < train.size(); ++id) statistics.add(train.labels(id));
    write("labels.jpg", encode_jpeg(statistics.plot()));
  });
}

void RunRecord::training_batch(const Batch& batch) {
  const std::string name = "train_batch" + std::to_string(training_batches_++) + ".jpg";
  if (batch.images.size(0) == 0) return;
  in_background(name, [this, name, batch] { write(name, encode_jpeg(batch_picture(batch, class_names_))); });
}

void RunRecord::write_events(const std::vector<EpochRow>& history) {
  const double now = unix_seconds();
  const auto add = [&](const EpochRow& row) {
    event_file_->add(row.epoch, now - (history.back().time_s - row.time_s), scalars_of(row));
  };
  if (event_file_) return add(history.back());
  // A training that is resumed begins its file with the epochs that it did not see itself: every file is whole.
  event_file_ = std::make_unique<EventFile>(run_dir_, history.front().epoch, now);
  for (const EpochRow& row : history) add(row);
}

void RunRecord::epoch(std::vector<EpochRow> history) {
  writer_.submit([this, history = std::move(history)] {
    write_results(run_dir_, history);
    attempt("TensorBoard's event file", [&] { write_events(history); });
    if (results_drawn_ && Clock::now() - *results_drawn_ < kResultsInterval) return;
    attempt("results.png", [&] { replace_file(run_dir_ / "results.png", encode_png(results_plot(history))); });
    results_drawn_ = Clock::now();
  });
}

void RunRecord::evaluation(const Metrics& metrics, int64_t epoch) {
  events_.emit(evaluation_event(metrics, epoch, class_names_));
  const auto shared = std::make_shared<const Metrics>(metrics);
  in_background("metrics.json", [this, shared, epoch] {
    announce(replace_file(run_dir_ / "metrics.json", metrics_json(*shared, epoch, class_names_)));
  });
  const std::pair<const char*, Curve> curves[] = {{"BoxPR_curve.png", Curve::precision_recall},
                                                  {"BoxF1_curve.png", Curve::f1},
                                                  {"BoxP_curve.png", Curve::precision},
                                                  {"BoxR_curve.png", Curve::recall}};
  for (const auto& [name, curve] : curves)
    in_background(name, [this, shared, name = std::string(name), curve = curve] {
      write(name, encode_png(curve_plot(*shared, curve, class_names_)));
    });
  for (const bool normalised : {false, true}) {
    const std::string name = normalised ? "confusion_matrix_normalized.png" : "confusion_matrix.png";
    in_background(name, [this, shared, name, normalised] {
      write(name, encode_png(confusion_plot(shared->confusion, class_names_, normalised)));
    });
  }
}

void RunRecord::finish(const std::vector<EpochRow>& history) {
  in_background("results.png",
                [this, history] { write("results.png", encode_png(results_plot(history))); });
  writer_.wait();
  for (FileDigest& file : run_files(run_dir_)) announce(std::move(file));
}

}  // namespace tenfold
