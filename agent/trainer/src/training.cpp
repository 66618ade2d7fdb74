#include "training.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/Parallel.h>
#include <ATen/Utils.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include <unistd.h>

#include "batch_norm.h"
#include "batch_size.h"
#include "exit_code.h"
#include "freeze.h"
#include "initial_weights.h"
#include "loss_gains.h"
#include "picture_cache.h"
#include "resumed_arguments.h"
#include "run_folder.h"
#include "sample_order.h"
#include "weights_file.h"

namespace tenfold {
namespace {

/// Checkpoints of a process that are kept on this machine; the agent's uploads are kept elsewhere.
constexpr size_t kLocalCheckpoints = 3;
/// Of the memory that is free at the start, shared by the ranks of a host, for `cache: ram`.
constexpr double kTrainingCacheShare = 0.6;
constexpr int kPrefetchBatches = 4;

Rendezvous rendezvous_of(const Training& t) {
  return {.address = t.env.master_addr,
          .port = t.env.master_port,
          .rank = t.env.rank,
          .world_size = t.env.world_size,
          .local_world_size = t.env.local_world_size,
          .generation = t.config.collective.generation,
          .timeout = std::chrono::milliseconds(static_cast<int64_t>(t.config.collective.timeout_s * 1000)),
          .backend = t.config.collective.backend,
          .device = t.device.device};
}

int threads_of(const RankEnvironment& env) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return env.threads.value_or(std::max(1, cores / env.local_world_size));
}

void begin_joining(Training& t) {
  if (t.env.world_size == 1) {
    t.ranks = alone();
    return;
  }
  t.joining = std::async(std::launch::async, [rendezvous = rendezvous_of(t), on_stall = t.on_stall] { return join(rendezvous, on_stall); });
}

void finish_joining(Training& t) {
  if (t.joined) return;
  t.joined = true;
  if (t.joining.valid()) t.ranks = t.joining.get();
  t.events.emit(JoinedEvent{t.ranks->backend()});
}

AugmentOptions augment_options(const TrainArguments& a, bool mosaic) {
  const auto f = [](double value) { return static_cast<float>(value); };
  return {.hsv_h = f(a.hsv_h),
          .hsv_s = f(a.hsv_s),
          .hsv_v = f(a.hsv_v),
          .degrees = f(a.degrees),
          .translate = f(a.translate),
          .scale = f(a.scale),
          .shear = f(a.shear),
          .perspective = f(a.perspective),
          .flipud = f(a.flipud),
          .fliplr = f(a.fliplr),
          .mosaic = mosaic ? f(a.mosaic) : 0.0F,
          .mixup = mosaic ? f(a.mixup) : 0.0F};
}

void open_data(Training& t) {
  if (const auto* shards = std::get_if<ShardData>(&t.config.data)) {
    t.data = Dataset::open_shards(shards->index, shards->dir, "train");
  } else {
    t.data = Dataset::open_yaml(std::get<YamlData>(t.config.data).path, "train");
  }
  if (t.data->size() == 0) throw TrainerError(ExitCode::bad_data, "the training split has no images");
  if (t.data->label_count() == 0)
    throw TrainerError(ExitCode::bad_data, "none of the " + std::to_string(t.data->size()) +
                                               " training images has a label; those of images/a.jpg are read from labels/a.txt");
  if (t.is_first_rank() && !t.data->warnings().empty())
    t.events.emit(WarningEvent{"labels_left_out", t.data->warning_summary(), ""});
  const auto classes = static_cast<int64_t>(t.data->names().size());
  if (t.config.nc && *t.config.nc != classes) {
    throw TrainerError(ExitCode::bad_config, "model.nc is " + std::to_string(*t.config.nc) + ", but the data set has " +
                                                 std::to_string(classes) + " classes; use \"auto\"");
  }
  const TrainArguments& args = t.config.train;
  PictureCache cache = picture_cache(args.cache, kTrainingCacheShare / t.env.local_world_size,
                                     [&events = t.events](const std::string& message) {
                                       events.emit(WarningEvent{"cache_off", "train.cache: disk: " + message +
                                                                                 "; up to 1 GiB of what it does not take is kept in memory", ""});
                                     });
  t.cache_bytes = std::min(cache.memory_bytes, 3 * args.imgsz * args.imgsz * t.samples());
  t.loader_threads = static_cast<int>(args.workers.value_or(std::clamp(at::get_num_threads(), 1, 8)));
  t.loader = std::make_unique<Loader>(*t.data, LoaderOptions{.imgsz = static_cast<int>(args.imgsz),
                                                             .seed = static_cast<uint64_t>(args.seed),
                                                             .threads = std::max(1, t.loader_threads),
                                                             .prefetch = kPrefetchBatches,
                                                             .cache_bytes = cache.memory_bytes,
                                                             .folder = std::move(cache.folder),
                                                             .pinned = t.device.device.is_cuda()});
}

int64_t class_count(const Training& t) { return static_cast<int64_t>(t.data->names().size()); }

/// The configured network with fresh weights.
std::shared_ptr<Detector> build_network(const Training& t) {
  auto network = build_detector(load_model_spec(t.config.arch), static_cast<int>(class_count(t)));
  const int64_t stride = network->max_stride(), side = t.config.train.imgsz;
  if (side % stride == 0) return network;
  const int64_t nearest = std::max(stride, (side + stride / 2) / stride * stride);
  throw TrainerError(ExitCode::bad_config, "train.imgsz must be a multiple of " + std::to_string(stride) +
                                               ", the largest stride of " + network->spec().name + "; " +
                                               std::to_string(nearest) + " is near " + std::to_string(side));
}

/// The arguments that the training goes by: what `auto` stands for, and what follows from others.
TrainArguments resolved_arguments(const Training& t) {
  const TrainArguments& given = t.config.train;
  TrainArguments resolved = resolve_optimizer(given, t.config.weights.has_value(), t.samples(), class_count(t));
  if (given.rect) resolved.mosaic = resolved.mixup = 0;
  return resolved;
}

/// Rank 0 tells of arguments that others replace. A default that is replaced was nobody's wish.
void tell_overruled(Training& t) {
  if (!t.is_first_rank()) return;
  const TrainArguments usual;
  const auto tell = [&t, &usual](const std::string& name, double TrainArguments::*argument, const std::string& why) {
    const double given = t.config.train.*argument, used = t.args.*argument;
    if (given == used || given == usual.*argument) return;
    std::ostringstream message;
    message << "train." << name << " is " << used << " instead of " << given << ": " << why;
    t.events.emit(WarningEvent{"overruled", message.str(), name});
  };
  const std::string by_optimizer =
      "optimizer auto chose so for given weights and few steps; name an optimizer to have it as given";
  tell("lr0", &TrainArguments::lr0, by_optimizer);
  tell("momentum", &TrainArguments::momentum, by_optimizer);
  tell("warmup_bias_lr", &TrainArguments::warmup_bias_lr, by_optimizer);
  const std::string by_rect = "rect trains on rectangles, which are neither put together nor mixed";
  tell("mosaic", &TrainArguments::mosaic, by_rect);
  tell("mixup", &TrainArguments::mixup, by_rect);
}

void start_from_weights(Training& t) {
  const Transfer transfer = transfer_weights(*t.model, *t.config.weights);
  t.transferred = transfer.tensors;
  if (t.is_first_rank() && !transfer.poor_fit.empty())
    t.events.emit(WarningEvent{"poor_fit", transfer.poor_fit, t.config.weights->string()});
}

void build_model(Training& t) {
  at::manual_seed(static_cast<uint64_t>(t.config.train.seed));
  t.model = build_network(t);
  freeze(*t.model, t.config.train.freeze);
  if (t.config.weights && !t.config.resume_dir) start_from_weights(t);
  const int64_t batches = (t.samples() + t.config.train.batch - 1) / t.config.train.batch;
  t.args = resolved_arguments(t);
  t.schedule = schedule_of(t.args, batches);
  t.loss = make_detection_loss(t.model->head_layout(), gains_of(t.args, t.model->head_layout()));
  t.weights_metadata = weights_metadata(*t.model, t.model->spec().name, t.data->names(), t.args.imgsz);
  auto average = build_network(t);
  for (const auto& model : {t.model, average}) place(*model, t.device);
  t.ema.emplace(*t.model, std::move(average));
  for (const at::Tensor& parameter : t.model->parameters()) {
    if (parameter.requires_grad()) t.trainable.push_back(parameter);
  }
  t.optimizer = make_optimizer(t.args, *t.model);
  const auto items = static_cast<int64_t>(loss_item_names(t.model->family()).size());
  t.loss_sums = at::zeros({items}, at::TensorOptions().dtype(at::kFloat).device(t.device.device));
}

CheckpointIdentity identity_of(const Training& t) {
  return {t.model->nc(), t.args.seed, t.args.batch, t.samples(), t.optimizer->name()};
}

at::Generator default_generator() { return at::globalContext().defaultGenerator(at::kCPU); }

/// A network is what its yaml says: an agent lays a user's own into another folder in each attempt.
void check_network(const Metadata& saved, const ModelSpec& own) {
  const std::optional<ModelSpec> network = described_network(saved);
  if (network && same_network(*network, own)) return;
  throw TrainerError(ExitCode::bad_config, "resume.dir is of another training: the layers of its network, " +
                                               (network ? network->name : "which it does not describe") +
                                               ", are not those of model.arch, " + own.name);
}

void check_identity(const CheckpointIdentity& saved, const CheckpointIdentity& own) {
  if (saved == own) return;
  const auto text = [](const CheckpointIdentity& i) {
    return std::to_string(i.nc) + " classes, seed " + std::to_string(i.seed) + ", batch " +
           std::to_string(i.batch) + ", " + std::to_string(i.samples) + " training images, " + i.optimizer;
  };
  throw TrainerError(ExitCode::bad_config, "resume.dir is of another training: it has " + text(saved) + "; the config has " +
                                               text(own));
}

void restore(Training& t, Snapshot saved) {
  check_network(saved.metadata, t.model->spec());
  check_identity(saved.identity, identity_of(t));
  copy_into(*t.model, saved.model);
  copy_into(*t.ema->model(), saved.ema);
  t.ema->set_updates(saved.ema_updates);
  t.optimizer->load_state(saved.optimizer);
  at::Tensor rng = at::empty({static_cast<int64_t>(saved.rng.size())}, at::kByte);
  std::copy(saved.rng.begin(), saved.rng.end(), rng.data_ptr<uint8_t>());
  default_generator().set_state(rng);
  t.progress = std::move(saved.progress);
  if (t.args.time > 0 && t.progress.planned_epochs > 0) plan_epochs(t, t.progress.planned_epochs);
  t.saved_at = {t.progress.step, t.progress.finished_epochs};
  if (t.is_first_rank()) t.best = std::move(saved.best);
}

/// Everything that ranks must share, in a fixed order.
std::vector<at::Tensor> shared_state(const Training& t) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named_state(*t.model)) tensors.push_back(tensor);
  for (const auto& [name, tensor] : named_state(*t.ema->model())) tensors.push_back(tensor);
  for (const auto& [name, tensor] : t.optimizer->state()) tensors.push_back(tensor);
  return tensors;
}

std::vector<std::string> trainable_names(const Detector& model) {
  std::vector<std::string> names;
  for (const auto& item : model.named_parameters()) {
    if (item.value().requires_grad()) names.push_back(item.key());
  }
  return names;
}

/// Statistics of few images are so noisy that the detector becomes worse (Wu and He, "Group Normalization", 2018, find a
/// little loss at 8 images, and much below).
constexpr int64_t kFewImages = 8;

bool shares_batch_statistics(const Training& t) {
  if (t.env.world_size == 1) return false;
  if (t.args.sync_bn != "auto") return t.args.sync_bn == "on";
  const int64_t slice = (t.args.batch + t.env.world_size - 1) / t.env.world_size;
  return std::min(slice, t.device_batch) < kFewImages;
}

GradientCompression compression_of(const TrainArguments& args) {
  return args.grad_compression == "bf16" ? GradientCompression::bf16 : GradientCompression::none;
}

void use_ranks(Training& t) {
  Communicator* ranks = t.ranks.get();
  t.loss->set_sum_over_ranks([ranks](at::Tensor tensor) { return ranks->sum(std::move(tensor), "normalisers of the loss"); });
  share_batch_statistics(*t.model, shares_batch_statistics(t) ? ranks : nullptr);
  t.exchange = ranks->exchange_gradients(t.trainable, trainable_names(*t.model), compression_of(t.args));
  t.gradients = std::make_unique<GradientPass>(*t.model, *t.loss, *t.exchange, t.device);
}

/// c10d's Reducer orders its buckets anew after its first backward pass, and with more than two ranks the order of a
/// sum shows in its last bits. One pass that counts for nothing makes the first step after a start like all others.
void settle_buckets(Training& t) {
  if (t.ranks->world_size() <= 2) return;
  Batch nothing;
  nothing.images = at::zeros({0, 3, t.args.imgsz, t.args.imgsz}, at::kByte);
  nothing.targets = at::zeros({0, 6});
  t.gradients->run(nothing, {}, [] {});
  for (const at::Tensor& parameter : t.trainable) parameter.mutable_grad().reset();
}

std::vector<at::Tensor> running_statistics(const Detector& model) {
  std::vector<at::Tensor> all;
  for (const auto& item : model.named_buffers()) {
    const auto& name = item.key();
    if (name.ends_with(".running_mean") || name.ends_with(".running_var")) all.push_back(item.value());
  }
  return all;
}

NamedTensors copies_of(const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) {
    copies.emplace_back(name, tensor.detach().to(at::kCPU, /*non_blocking=*/false, /*copy=*/true,
                                                 at::MemoryFormat::Contiguous));
  }
  return copies;
}

/// Only a measurement needs the other ranks before the model is built.
void settle_batch_and_join(Training& t, const std::optional<Snapshot>& saved) {
  if (measures_memory(t)) finish_joining(t);
  settle_batch(t, saved ? &*saved : nullptr);
}

}  // namespace

void prepare(Training& t) {
  const int threads = threads_of(t.env);
  set_up_cpu(threads);
  t.device = choose_device(t.config.train.device, t.config.train.amp, t.env.local_rank);
  t.events.emit(HelloEvent{t.env.rank, t.env.world_size, t.config.collective.generation, ::getpid(),
                           TENFOLD_TORCH_VERSION, t.device.name, threads});
  begin_joining(t);
  open_data(t);
  std::optional<Snapshot> saved;
  if (t.config.resume_dir) saved = read_checkpoint(*t.config.resume_dir);
  settle_batch_and_join(t, saved);
  // The first pictures are read while the model is built, unless its stride shapes them or a checkpoint says which.
  const bool early = !saved && !t.config.train.rect;
  if (early) {
    t.args = t.config.train;
    start_epoch(t);
  }
  build_model(t);
  if (saved) restore(t, std::move(*saved));
  if (!early) start_epoch(t);
  t.checkpoints.emplace(t.config.checkpoint.dir, kLocalCheckpoints);
  t.writer.emplace();
  finish_joining(t);
  t.ranks->broadcast(shared_state(t));
  use_ranks(t);
  settle_buckets(t);
  t.statistics = running_statistics(*t.model);
  for (const at::Tensor& tensor : t.statistics) t.statistics_before.push_back(tensor.clone());
  if (t.config.resume_dir) t.events.emit(ResumedEvent{t.progress.step, t.progress.cursor});
  tell_overruled(t);
}

std::shared_ptr<Detector> new_network(const Training& t) {
  auto network = build_network(t);
  freeze(*network, t.config.train.freeze);
  place(*network, t.device);
  return network;
}

void plan_epochs(Training& t, int64_t epochs) {
  t.progress.planned_epochs = epochs;
  t.args.epochs = epochs;
  t.schedule.epochs = epochs;
}

void start_epoch(Training& t) {
  const Cursor& cursor = t.progress.cursor;
  if (cursor.epoch > t.args.epochs) return;
  const std::vector<int64_t> order = permutation(static_cast<uint64_t>(t.args.seed), cursor.epoch, t.samples());
  std::vector<std::vector<int64_t>> batches, whole_batches;
  for (int64_t offset = cursor.offset; offset < t.samples(); offset += t.args.batch) {
    const int64_t end = std::min(offset + t.args.batch, t.samples());
    if (t.args.rect) whole_batches.emplace_back(order.begin() + offset, order.begin() + end);
    std::vector<int64_t> ids =
        rank_positions(t.samples(), t.args.batch, offset, t.env.world_size, t.env.rank);
    for (int64_t& id : ids) id = order[static_cast<size_t>(id)];
    batches.push_back(std::move(ids));
  }
  // A training that is shorter than that keeps its mosaics, as with the published trainers.
  const bool mosaic = t.args.epochs < t.args.close_mosaic || cursor.epoch <= t.args.epochs - t.args.close_mosaic;
  Rectangles rectangles;
  if (t.args.rect) rectangles = {std::move(whole_batches), t.model->max_stride()};
  t.loader->start(cursor.epoch, std::move(batches), augment_options(t.args, mosaic), std::move(rectangles));
}

void settle_replicas(Training& t) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> tensors = running_statistics(*t.model);
  for (at::Tensor& tensor : running_statistics(*t.ema->model())) tensors.push_back(std::move(tensor));
  tensors.push_back(t.loss_sums);
  std::vector<at::Tensor> flat;
  for (const at::Tensor& tensor : tensors) flat.push_back(tensor.reshape({-1}));
  const at::Tensor mean = t.ranks->sum(at::cat(flat), "running statistics and losses").div_(t.ranks->world_size());
  int64_t at = 0;
  for (at::Tensor& tensor : tensors) {
    tensor.copy_(mean.narrow(0, at, tensor.numel()).view_as(tensor));
    at += tensor.numel();
  }
  add_loss_items(t.progress.epoch.loss, named_items(t.model->family(), t.loss_sums));
  t.progress.epoch.steps += t.loss_steps;
  t.loss_sums.zero_();
  t.loss_steps = 0;
}

void copy_into(Detector& model, const NamedTensors& saved) {
  const at::NoGradGuard no_grad;
  const std::map<std::string, at::Tensor> by_name(saved.begin(), saved.end());
  for (const auto& [name, tensor] : named_state(model)) {
    const auto found = by_name.find(name);
    if (found == by_name.end() || found->second.sizes() != tensor.sizes()) {
      throw TrainerError(ExitCode::bad_checkpoint, "the checkpoint does not fit the model at " + name);
    }
    tensor.copy_(found->second);
  }
}

NamedTensors copy_of_state(const Detector& model) { return copies_of(named_state(model)); }

void save_checkpoint(Training& t) {
  const std::pair now{t.progress.step, t.progress.finished_epochs};
  if (t.saved_at == now) return;
  t.saved_at = now;
  if (!t.is_first_rank()) return;
  const at::Tensor rng = default_generator().get_state();
  auto snapshot = std::make_shared<Snapshot>(Snapshot{
      .identity = identity_of(t),
      .progress = t.progress,
      .world_size = t.env.world_size,
      .device_batch = t.device_batch,
      .ema_updates = t.ema->updates(),
      .rng = std::vector<uint8_t>(rng.data_ptr<uint8_t>(), rng.data_ptr<uint8_t>() + rng.numel()),
      .arguments = arguments_to_resume(t.config, t.args),
      .model = copy_of_state(*t.model),
      .ema = copy_of_state(*t.ema->model()),
      .optimizer = copies_of(t.optimizer->state()),
      .best = t.best,
      .metadata = t.weights_metadata});
  t.writer->submit([snapshot, dir = t.config.checkpoint.dir, &events = t.events, &rotation = *t.checkpoints] {
    const CheckpointEvent written = write_checkpoint(dir, *snapshot);
    events.emit(written);
    rotation.add(written.dir);
  });
}

}  // namespace tenfold
