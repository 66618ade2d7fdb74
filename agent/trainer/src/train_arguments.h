#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "setting.h"

namespace tenfold {

/// Stands for the largest batch that fits.
inline constexpr int64_t kAutoBatch = -1;

/// The training arguments by the names and defaults that YOLO users know.
struct TrainArguments {
  int64_t epochs = 100;
  int64_t patience = 100;  // epochs without a better fitness before an early end; 0: never
  int64_t batch = 16;      // images of one optimizer step over all ranks together; kAutoBatch until settled
  std::optional<int64_t> device_batch;  // images of one pass of a rank at most; nullopt: what fits
  int64_t imgsz = 640;     // side of the network's square input, pixels
  std::optional<int64_t> workers;  // loader threads of this rank; nullopt: auto
  std::string optimizer = "auto";
  int64_t seed = 0;
  std::string amp = "auto";
  /// Decoded pictures kept: off, in memory (auto: up to 1 GiB a rank; ram: as many as fit), or in files (disk).
  std::string cache = "auto";
  std::string device = "auto";  // auto, cpu, cuda (by local rank), cuda:N
  double time = 0;              // hours over all attempts, in whole epochs, at least one; overrides epochs; 0: no limit
  int64_t save_period = -1;     // weights of every so many epochs are kept; -1: of none
  /// Prefixes of parameter names ("model.0") that do not train; the running statistics of their batch norms rest too.
  std::vector<std::string> freeze;
  bool cos_lr = false;
  int64_t close_mosaic = 10;  // the last so many epochs train without mosaic and mixup; none where there are fewer
  double lr0 = 0.01;
  double lrf = 0.01;  // final learning rate as a share of lr0
  double momentum = 0.937;
  double weight_decay = 0.0005;
  int64_t nbs = 64;  // nominal batch size: the one that weight_decay is meant for
  double warmup_epochs = 3.0;
  double warmup_momentum = 0.8;
  double warmup_bias_lr = 0.1;
  double max_grad_norm = 10;         // gradients are scaled down to this L2 norm; 0: never
  std::string nan_policy = "skip";   // what a gradient that is NaN or infinite does: skip the step, or end the training
  /// Batch norms take their statistics from the slices of all ranks: on, off, or auto: where a rank's own are few images.
  std::string sync_bn = "auto";
  std::string grad_compression = "off";  // bf16: gradients travel in half the bytes
  std::optional<double> box;  // gains of the losses; nullopt: as the model's family has them
  std::optional<double> cls;
  std::optional<double> dfl;   // v8, v10
  std::optional<double> obj;   // v5
  double label_smoothing = 0;  // v5
  double hsv_h = 0.015;
  double hsv_s = 0.7;
  double hsv_v = 0.4;
  double degrees = 0.0;
  double translate = 0.1;
  double scale = 0.5;
  double shear = 0.0;
  double perspective = 0.0;
  double flipud = 0.0;
  double fliplr = 0.5;
  double mosaic = 1.0;
  double mixup = 0.0;
  bool rect = false;  // training batches, too, as the least rectangle that holds their pictures; without mosaic and mixup
  bool val = true;  // whether each epoch ends with a validation
};

/// The one description of every argument: name, place, range. Reading, checking and printing all visit it.
///
/// A visitor has integer(name, int64&, low, high), number(name, double&, low, high), flag(name, bool&),
/// integer_or_auto(name, optional<int64>&, low, high), number_or_auto(name, optional<double>&, low, high),
/// choice(name, string&, words, word for true, word for false), device(name, string&) and
/// layers(name, vector<string>& prefixes); batch(name, int64&, low, high) takes kAutoBatch too.
template <typename Visitor, typename Arguments>
void visit_arguments(Visitor&& v, Arguments& a) {
  constexpr double kAny = std::numeric_limits<double>::infinity();
  constexpr int64_t kMany = int64_t{1} << 53;
  v.integer("epochs", a.epochs, 1, 100'000);
  v.integer("patience", a.patience, 0, kMany);
  v.batch("batch", a.batch, 1, 65'536);
  v.integer_or_auto("device_batch", a.device_batch, 1, 65'536);
  v.integer("imgsz", a.imgsz, 32, 4096);
  v.integer_or_auto("workers", a.workers, 0, 64);
  v.choice("optimizer", a.optimizer, {"auto", "SGD", "AdamW", "Adam"}, nullptr, nullptr);
  v.integer("seed", a.seed, 0, 4'294'967'295);
  v.choice("amp", a.amp, {"auto", "off", "bf16", "fp16"}, "auto", "off");
  v.choice("cache", a.cache, {"auto", "ram", "disk", "off"}, "ram", "off");
  v.device("device", a.device);
  v.number("time", a.time, 0, 100'000);
  v.integer("save_period", a.save_period, -1, kMany);
  v.layers("freeze", a.freeze);
  v.flag("cos_lr", a.cos_lr);
  v.integer("close_mosaic", a.close_mosaic, 0, kMany);
  v.number("lr0", a.lr0, 0, 10);
  v.number("lrf", a.lrf, 0, 1);
  v.number("momentum", a.momentum, 0, 0.9999);
  v.number("weight_decay", a.weight_decay, 0, 1);
  v.integer("nbs", a.nbs, 1, 65'536);
  v.number("warmup_epochs", a.warmup_epochs, 0, kAny);
  v.number("warmup_momentum", a.warmup_momentum, 0, 0.9999);
  v.number("warmup_bias_lr", a.warmup_bias_lr, 0, 10);
  v.number("max_grad_norm", a.max_grad_norm, 0, kAny);
  v.choice("nan_policy", a.nan_policy, {"skip", "end"}, nullptr, nullptr);
  v.choice("sync_bn", a.sync_bn, {"auto", "on", "off"}, "on", "off");
  v.choice("grad_compression", a.grad_compression, {"off", "bf16"}, nullptr, nullptr);
  v.number_or_auto("box", a.box, 0, kAny);
  v.number_or_auto("cls", a.cls, 0, kAny);
  v.number_or_auto("dfl", a.dfl, 0, kAny);
  v.number_or_auto("obj", a.obj, 0, kAny);
  v.number("label_smoothing", a.label_smoothing, 0, 0.5);
  v.number("hsv_h", a.hsv_h, 0, 1);
  v.number("hsv_s", a.hsv_s, 0, 1);
  v.number("hsv_v", a.hsv_v, 0, 1);
  v.number("degrees", a.degrees, -180, 180);
  v.number("translate", a.translate, 0, 1);
  v.number("scale", a.scale, 0, 1);
  v.number("shear", a.shear, -180, 180);
  v.number("perspective", a.perspective, 0, 0.001);
  v.number("flipud", a.flipud, 0, 1);
  v.number("fliplr", a.fliplr, 0, 1);
  v.number("mosaic", a.mosaic, 0, 1);
  v.number("mixup", a.mixup, 0, 1);
  v.flag("rect", a.rect);
  v.flag("val", a.val);
}

/// The names of all arguments, in the order above.
std::vector<std::string> argument_names();

/// Arguments of other YOLO tools that are not taken here, with what to do instead.
const std::vector<std::pair<std::string_view, std::string_view>>& refused_arguments();

/// `name: value` lines of every argument, as args.yaml holds them.
std::string arguments_yaml(const TrainArguments& arguments);

/// The same as words of a command line.
std::vector<Setting> argument_settings(const TrainArguments& arguments);

}  // namespace tenfold
