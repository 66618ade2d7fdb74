#include "train_loop.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <utility>

#include "device_feed.h"
#include "freeze.h"
#include "inspect.h"
#include "loss_gains.h"
#include "run_folder.h"
#include "run_pictures.h"
#include "train_step.h"

namespace tenfold {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kMostEpochs = 1e6;
/// Of the memory that is free when the validation is set up, shared by the ranks of a host, for `cache: ram`.
constexpr double kValidationCacheShare = 0.2;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Dataset open_validation_data(const Config& config) {
  if (const auto* shards = std::get_if<ShardData>(&config.data)) {
    return Dataset::open_shards(shards->index, shards->dir, "val");
  }
  return Dataset::open_yaml(std::get<YamlData>(config.data).path, "val");
}

std::unique_ptr<DetectionLoss> new_loss(const Training& t) {
  return make_detection_loss(t.model->head_layout(), gains_of(t.args, t.model->head_layout()));
}

void open_validation(Training& t) {
  if (!t.args.val || t.validator) return;
  t.validator = std::make_unique<Validator>(
      open_validation_data(t.config),
      ValidatorOptions{.imgsz = static_cast<int>(t.args.imgsz),
                       .stride = t.model->max_stride(),
                       .batch = t.args.batch,
                       .at_once = t.device_batch * t.env.world_size,
                       .threads = std::max(1, t.loader_threads),
                       .cache = picture_cache(t.args.cache, kValidationCacheShare / t.env.local_world_size)},
      new_loss(t));
  const Dataset& data = t.validator->data();
  if (data.size() == 0) throw TrainerError(ExitCode::bad_data, "the validation split has no images");
  if (t.is_first_rank() && data.label_count() == 0)
    t.events.emit(WarningEvent{"no_labels", "none of the " + std::to_string(data.size()) +
                                                " validation images has a label: nothing can be measured", ""});
  if (t.is_first_rank() && !data.warnings().empty())
    t.events.emit(WarningEvent{"labels_left_out", data.warning_summary(), ""});
}

RunRecord& record_of(Training& t) {
  if (!t.record) {
    t.record = std::make_unique<RunRecord>(t.config.run_dir, t.data->names(), *t.writer, t.events);
  }
  return *t.record;
}

/// Has weights written into the run folder, in the background.
void write_later(Training& t, std::vector<std::string> names, const std::shared_ptr<const NamedTensors>& weights) {
  t.writer->submit([names = std::move(names), weights, dir = t.config.run_dir, metadata = t.weights_metadata] {
    for (const std::string& name : names) write_weights(dir, name, *weights, metadata);
  });
}

/// What the training goes by, with the values that `auto` stands for here.
Config resolved_config(const Training& t) {
  Config resolved = t.config;
  resolved.train = t.args;
  resolved.train.device = t.device.name;
  resolved.train.amp = t.device.autocast == at::kBFloat16 ? "bf16" : t.device.autocast == at::kHalf ? "fp16" : "off";
  resolved.train.workers = t.loader_threads;
  resolved.train.device_batch = t.device_batch;
  if (auto* yaml = std::get_if<YamlData>(&resolved.data)) yaml->path = std::filesystem::absolute(yaml->path);
  return resolved;
}

/// An attempt that goes on finds the run folder empty, or with what came after its checkpoint: what was found until
/// then is written again, for nothing better may come.
void begin_run_folder(Training& t) {
  record_of(t).begin(args_yaml(resolved_config(t)), *t.data);
  if (!t.progress.history.empty()) record_of(t).epoch(t.progress.history);
  if (!t.best.empty()) write_later(t, {"best"}, std::make_shared<NamedTensors>(t.best));
}

/// What can wait until the first step is done, so that the first step comes early; problems here still come early too.
/// Done once, also where no step is left.
void introduce(Training& t) {
  if (std::exchange(t.introduced, true)) return;
  open_validation(t);
  if (!t.is_first_rank()) return;
  // Operations are as many as pixels, so a small picture tells what one of the usual 640 x 640 costs.
  const int side = 2 * t.model->max_stride();
  const ModelReport report = inspect_model(t.model->spec(), t.model->nc(), side);
  const double gflops = report.gflops * (640.0 / side) * (640.0 / side);
  t.events.emit(ModelEvent{t.model->spec().name, t.model->nc(), report.parameters, gflops, t.transferred});
  begin_run_folder(t);
}

void checkpoint_now(Training& t) {
  settle_replicas(t);
  save_checkpoint(t);
}

/// The ranks' agreement was carried out: the request that led to it is done. Another that came since stays.
void acknowledge(Training& t, const Agreement& agreed) {
  if (agreed.checkpoint) t.requests.checkpoint = false;
}

Ending stopped(const Training& t, bool with_checkpoint) {
  return {ExitCode::stopped, "stopped after step " + std::to_string(t.progress.step) +
                                 (with_checkpoint ? ", with a checkpoint" : "") + "; resume to go on"};
}

/// Trains to the end of the cursor's epoch. Returns how the training ends if it ends in the middle.
std::optional<Ending> train_epoch(Training& t) {
  StepReport report(t);
  enter_training_mode(*t.model, t.args.freeze);
  auto started = Clock::now();
  double waited = t.loader->wait_seconds();
  DeviceFeed feed(*t.loader, t.device.device);
  while (std::optional<Batch> batch = feed.next()) {
    const double waited_now = t.loader->wait_seconds();
    const Agreement agreed = train_step(t, *batch, report, waited_now - waited);
    waited = waited_now;
    t.progress.epoch.seconds += seconds_since(started);
    started = Clock::now();
    if (t.requests.orphaned) throw TrainerError(ExitCode::orphaned, "the agent went away");
    introduce(t);
    if (t.is_first_rank() && record_of(t).wants_training_batch()) record_of(t).training_batch(on_host(*batch));
    if (agreed.checkpoint || agreed.stop_checkpoint) checkpoint_now(t);
    acknowledge(t, agreed);
    if (agreed.stop) return stopped(t, agreed.stop_checkpoint);
  }
  return std::nullopt;
}

/// Ends a training of whose pictures none can be read.
void require_pictures(int64_t unreadable, int64_t all, const std::string& split) {
  if (unreadable < all) return;
  throw TrainerError(ExitCode::bad_data, "none of the " + std::to_string(all) + " " + split +
                                             " images can be read; the warnings before say why");
}

ValidationResult validate(Training& t, int64_t epoch) {
  auto told = Clock::now();
  const auto interval = std::chrono::milliseconds(t.config.progress_interval_ms);
  ValidationResult result = t.validator->run(
      *t.ema->model(), t.device, *t.ranks,
      [&](int64_t done, int64_t total) {
        if (t.requests.orphaned) throw TrainerError(ExitCode::orphaned, "the agent went away");
        if (!t.is_first_rank() || (done < total && Clock::now() - told < interval)) return;
        told = Clock::now();
        t.events.emit(ValEvent{epoch, done, total});
      },
      [&](const Corrupt& corrupt) {
        t.events.emit(WarningEvent{"corrupt_image", corrupt.name + ": " + corrupt.reason + "; its objects count as missed", corrupt.name});
      });
  require_pictures(result.unreadable, t.validator->data().size(), "validation");
  return result;
}

/// NaN where every step was skipped.
LossItems mean_of(const EpochSums& sums) {
  LossItems mean = sums.loss;
  for (LossItem& item : mean) item.value = sums.steps > 0 ? item.value / static_cast<double>(sums.steps) : std::nan("");
  return mean;
}

/// What becomes of a validation whose loss is not finite: the average of the weights, which it judges, is no better. It is
/// told, and the training ends where the policy says so. The loss is the same on every rank.
void judge_finite(const Training& t, int64_t epoch, const LossItems& loss) {
  const auto bad = std::ranges::find_if(loss, [](const LossItem& item) { return !std::isfinite(item.value); });
  if (bad == loss.end()) return;
  const std::string what = "epoch " + std::to_string(epoch) + ": the validation's " + bad->name + " loss is NaN or infinite";
  const std::string advice = "; try a lower train.lr0 or train.amp: off";
  if (t.args.nan_policy == "end") throw TrainerError(ExitCode::diverged, what + advice);
  if (t.is_first_rank()) t.events.emit(WarningEvent{"validation_loss", what + advice, ""});
}

/// Training images that could not be read so far; one that several ranks met counts once.
int64_t corrupt_images(Training& t) {
  const std::set<int64_t>& own = t.loader->corrupt_ids();
  const at::Tensor ids = at::empty({static_cast<int64_t>(own.size()), 1}, at::kLong);
  std::ranges::copy(own, ids.data_ptr<int64_t>());
  std::set<int64_t> all;
  for (const at::Tensor& rows : t.ranks->gather_rows(ids, "unreadable images")) {
    const int64_t* row = rows.const_data_ptr<int64_t>();
    all.insert(row, row + rows.size(0));
  }
  return static_cast<int64_t>(all.size());
}

/// Judges the epoch and writes it down; rank 0 keeps the weights if they are the best so far. Without validation the
/// newest are, and so they are while nothing at all is found: patience begins with the first find.
bool judge(Training& t, const EpochRow& row) {
  Progress& progress = t.progress;
  const double fitness = row.metrics ? fitness_of(*row.metrics) : 0;
  const bool nothing_yet = fitness == 0 && progress.best_fitness <= 0;
  const bool best = !row.metrics || fitness > progress.best_fitness || nothing_yet;
  if (best) {
    progress.best_fitness = fitness;
    progress.best_epoch = row.epoch;
  }
  return best;
}

/// Weights that save_period keeps are told of as soon as they are written: a later attempt starts with an empty folder.
void keep_weights(Training& t, const std::shared_ptr<NamedTensors>& weights) {
  const int64_t epoch = t.progress.finished_epochs;
  if (t.args.save_period <= 0 || epoch % t.args.save_period != 0) return;
  t.writer->submit([weights, epoch, dir = t.config.run_dir, metadata = t.weights_metadata, &events = t.events] {
    events.emit(ArtifactEvent{write_weights(dir, "epoch" + std::to_string(epoch), *weights, metadata)});
  });
}

void save_weights(Training& t, bool best) {
  if (!t.is_first_rank()) return;
  auto weights = std::make_shared<NamedTensors>(copy_of_state(*t.ema->model()));
  if (best) t.best = *weights;
  record_of(t).epoch(t.progress.history);
  write_later(t, best ? std::vector<std::string>{"best", "last"} : std::vector<std::string>{"last"}, weights);
  keep_weights(t, weights);
}

bool out_of_patience(const Training& t) {
  return t.args.patience > 0 && t.args.val &&
         t.progress.finished_epochs - t.progress.best_epoch >= t.args.patience;
}

/// Every so many epochs or steps, and at the end of the training; or only when asked for.
bool checkpoint_due_after_epoch(const Training& t) {
  const CheckpointPolicy& policy = t.config.checkpoint;
  if (!policy.every_epochs && !policy.every_steps) return false;
  const Progress& now = t.progress;
  if (now.finished_epochs == t.args.epochs || out_of_patience(t)) return true;
  return (policy.every_epochs && now.finished_epochs % *policy.every_epochs == 0) ||
         (policy.every_steps && now.step % *policy.every_steps == 0);
}

/// Validates the epoch that ended last and tells its result; a checkpoint follows if one is due.
void finish_epoch(Training& t) {
  const auto started = Clock::now();
  const int64_t epoch = t.progress.cursor.epoch - 1;
  introduce(t);
  const int64_t corrupt = corrupt_images(t);
  require_pictures(corrupt, t.samples(), "training");
  settle_replicas(t);
  EpochRow row;
  row.epoch = epoch;
  row.train = mean_of(t.progress.epoch);
  row.lr = rates_at(t.schedule, std::max<int64_t>(t.progress.step - 1, 0)).lr;
  std::optional<Metrics> details;
  if (t.validator) {
    ValidationResult result = validate(t, epoch);
    row.metrics = result.metrics;
    row.val = result.loss;
    details = std::move(result.details);
    judge_finite(t, epoch, *row.val);
  }
  const EpochSums& sums = t.progress.epoch;
  t.progress.validation_seconds = seconds_since(started);
  const double time_s = sums.seconds + t.progress.validation_seconds;
  t.progress.seconds += time_s;
  row.time_s = t.progress.seconds;
  const bool best = judge(t, row);
  if (best) t.best_details = std::move(details);
  t.progress.history.push_back(row);
  if (t.is_first_rank()) {
    t.events.emit(EpochEvent{epoch, time_s, row.train, row.val, row.metrics, row.lr, best, sums.images,
                             static_cast<double>(sums.images) / std::max(sums.seconds, 1e-9), corrupt});
  }
  t.progress.epoch = {};
  t.progress.finished_epochs = epoch;
  save_weights(t, best);
  if (checkpoint_due_after_epoch(t) || t.checkpoint_asked) save_checkpoint(t);
  acknowledge(t, {.checkpoint = std::exchange(t.checkpoint_asked, false)});
}

/// Under a limit of time: as many epochs as fit, judged by those so far; the last one's validation is yet to come, and taken
/// to be as long as the one before. Rank 0's clock counts.
void fit_epochs_to_time(Training& t) {
  if (t.args.time <= 0) return;
  const int64_t done = t.progress.cursor.epoch - 1;
  const double spent = t.progress.seconds + t.progress.epoch.seconds + t.progress.validation_seconds;
  const double fit = std::floor(t.args.time * 3600 * static_cast<double>(done) / std::max(spent, 1e-9));
  const at::Tensor epochs = at::tensor({std::clamp(fit, static_cast<double>(done), kMostEpochs)}, at::kDouble);
  t.ranks->broadcast({epochs}, "number of epochs");
  plan_epochs(t, static_cast<int64_t>(epochs.item<double>()));
}

/// Overwrites all ranks' running average with that of rank 0.
void share_average(Training& t) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named_state(*t.ema->model())) tensors.push_back(tensor);
  t.ranks->broadcast(tensors, "weights of the best epoch");
}

/// Has the running average be the best epoch's weights, on rank 0. What they find class by class is known where this
/// was validated; if that was before a restart, all ranks validate them once more.
void take_best_weights(Training& t) {
  if (t.is_first_rank() && !t.best.empty()) copy_into(*t.ema->model(), t.best);
  const at::Tensor known = at::full({1}, t.best_details ? 1 : 0, at::kInt);
  t.ranks->broadcast({known}, "whether the best epoch is known");
  if (known.item<int>() != 0) return;
  share_average(t);
  t.best_details = validate(t, t.progress.best_epoch).details;
}

/// Resumed after the last epoch: nothing is left to train, and the running average is still that of its end.
void begin_finished(Training& t) {
  introduce(t);
  if (t.is_first_rank()) write_later(t, {"last"}, std::make_shared<NamedTensors>(copy_of_state(*t.ema->model())));
}

/// Tables, plots and pictures of what comes out, and the list of all files, when nothing more will change.
void finish_run(Training& t) {
  if (!t.introduced) begin_finished(t);
  if (t.validator) take_best_weights(t);
  if (!t.is_first_rank()) return;
  RunRecord& record = record_of(t);
  if (t.best_details) record.evaluation(*t.best_details, t.progress.best_epoch);
  if (t.validator) {
    record.attempt("pictures of predictions", [&] {
      draw_validation(t.config.run_dir, *t.ema->model(), t.validator->data(), static_cast<int>(t.args.imgsz), t.device);
    });
  }
  record.finish(t.progress.history);
}

}  // namespace

Ending run_training(Training& t) {
  while (t.progress.finished_epochs < t.args.epochs && !out_of_patience(t)) {
    if (t.progress.cursor.epoch == t.progress.finished_epochs + 1) {
      if (const auto end = train_epoch(t)) return *end;
      fit_epochs_to_time(t);
      start_epoch(t);  // the next epoch's first batches are made during the validation
    }
    finish_epoch(t);
  }
  finish_run(t);
  const int64_t done = t.progress.finished_epochs;
  if (done >= t.args.epochs) return {ExitCode::completed, std::to_string(done) + (done == 1 ? " epoch" : " epochs")};
  return {ExitCode::completed, "stopped early after epoch " + std::to_string(done) + ": nothing better since epoch " +
                                   std::to_string(t.progress.best_epoch)};
}

}  // namespace tenfold
