#include "batch_size.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "device_memory.h"
#include "exit_code.h"
#include "freeze.h"
#include "training.h"
#include "validate.h"

namespace tenfold {
namespace {

/// Share of what is available that a pass may take; the rest is for what was not measured.
constexpr double kMemoryShare = 0.8;
/// Copies of the parameters besides the model's own that a training holds: gradients' buckets, the optimizer's two
/// moments, the average.
constexpr int64_t kParameterCopies = 4;
/// A mosaic shows the objects of so many pictures.
constexpr int64_t kMosaicPictures = 4;

int64_t expected_size(const FittingBatch& smaller, const FittingBatch& larger, int64_t budget) {
  const int64_t per_image = (larger.peak_bytes - smaller.peak_bytes) / (larger.images - smaller.images);
  return larger.images + (budget - larger.peak_bytes) / std::max<int64_t>(per_image, 1);
}

/// A batch as training sees them, without meaning: what it takes in memory is what counts.
Batch stand_in_batch(int64_t images, int64_t side, int64_t objects) {
  Batch batch;
  batch.images = at::zeros({images, 3, side, side}, at::kByte);
  batch.targets = at::zeros({images * objects, 6});
  for (int64_t i = 0; i < images * objects; ++i) {
    float* row = batch.targets.data_ptr<float>() + i * 6;
    const auto place = static_cast<float>(i % objects) / static_cast<float>(objects);
    row[0] = static_cast<float>(i / objects);
    std::fill(row + 2, row + 4, 0.25F + place / 2);
    std::fill(row + 4, row + 6, 0.2F);
  }
  return batch;
}

int64_t mean_objects(const Dataset& data) { return data.label_count() / std::max<int64_t>(data.size(), 1) + 1; }

/// Measures passes of a network like the training's; what they leave behind goes with it.
class PassProbe {
 public:
  explicit PassProbe(const Training& t)
      : device_(t.device), side_(t.config.train.imgsz), objects_(kMosaicPictures * mean_objects(*t.data)),
        model_(new_network(t)), loss_(make_detection_loss(model_->head_layout())) {
    enter_training_mode(*model_, t.config.train.freeze);
  }

  std::optional<int64_t> operator()(int64_t images) const {
    const auto peak = peak_bytes_of(device_.device, [&] {
      const Batch batch = stand_in_batch(images, side_, objects_);
      loss_of_slice(*model_, *loss_, batch, device_).total.backward();
    });
    model_->zero_grad();
    return peak;
  }

  int64_t parameter_bytes() const { return model_->parameter_count() * static_cast<int64_t>(sizeof(float)); }

 private:
  const ComputeDevice& device_;
  int64_t side_;
  int64_t objects_;
  std::shared_ptr<Detector> model_;
  std::unique_ptr<DetectionLoss> loss_;
};

/// Bytes that are left for this rank's passes. Ranks that compute on one host's memory share it.
int64_t memory_for_passes(const Training& t, int64_t parameter_bytes) {
  t.ranks->sum(at::zeros({1}), "start of the measurement");  // nobody measures while another still builds
  int64_t bytes = available_bytes(t.device.device);
  if (t.device.device.is_cpu()) bytes = bytes / t.env.local_world_size - t.cache_bytes;
  return bytes - kParameterCopies * parameter_bytes;
}

int64_t least_of_ranks(const Training& t, int64_t value) {
  return -t.ranks->begin_max(at::tensor({-value}, at::kLong), "largest batch")->wait().item<int64_t>();
}

/// The most images of a pass that every rank can take, up to `limit`; `peak_bytes` is this rank's. What was settled
/// before (0: nothing) stays if every rank can still take it, though less than the usual margin may be left.
/// Of a batch that was asked for the whole is tried first: mostly it fits, and a GPU takes its time to get ready for
/// each other size.
FittingBatch measure(const Training& t, int64_t limit, int64_t settled) {
  const PassProbe probe(t);
  const int64_t memory = memory_for_passes(t, probe.parameter_bytes());
  if (settled > 0) {
    const auto peak = probe(settled);
    const bool fits = peak && *peak <= memory;
    const bool fits_everywhere = least_of_ranks(t, fits ? 1 : 0) == 1;
    if (peak && fits_everywhere) return {settled, *peak};
  }
  const auto budget = static_cast<int64_t>(static_cast<double>(memory) * kMemoryShare);
  const auto whole = t.config.train.batch == kAutoBatch ? std::nullopt : probe(limit);
  FittingBatch found = whole && *whole <= budget ? FittingBatch{limit, *whole}
                                                 : largest_batch([&](int64_t images) { return probe(images); }, budget, limit);
  found.images = least_of_ranks(t, found.images);
  if (found.images == 0) {
    throw TrainerError(ExitCode::out_of_memory, "a pass of a single image of " + std::to_string(t.config.train.imgsz) +
                                                    " pixels needs more than the " + std::to_string(budget >> 20) +
                                                    " MiB that may be taken; use a smaller model or train.imgsz");
  }
  return found;
}

}  // namespace

FittingBatch largest_batch(const MemoryProbe& probe, int64_t budget, int64_t limit) {
  // A pass of nothing tells what is needed whatever the batch: without it one image would be taken to cost all of that.
  const auto fixed = probe(0);
  if (!fixed || *fixed > budget) return {};
  FittingBatch before, best{0, *fixed};
  int64_t too_many = limit + 1;  // the least that is known, or not allowed, to fit
  int64_t next = 1;
  while (next > best.images && next < too_many) {
    const auto peak = probe(next);
    if (peak && *peak <= budget) {
      before = best;
      best = {next, *peak};
    } else {
      too_many = next;
    }
    if (best.images == 0 || (too_many <= limit && too_many - best.images <= std::max<int64_t>(1, best.images / 16))) {
      return best;
    }
    next = std::min({expected_size(before, best, budget), 2 * best.images, limit});
    if (next >= too_many) next = (best.images + too_many) / 2;
  }
  return best;
}

bool measures_memory(const Training& t) {
  const TrainArguments& args = t.config.train;
  // What fits a GPU is found out by trying; a CPU's memory is large, and trying takes long there.
  return !args.device_batch && (args.batch == kAutoBatch || t.device.device.is_cuda());
}

void settle_batch(Training& t, const Snapshot* earlier) {
  const int64_t world = t.env.world_size;
  const bool measures = measures_memory(t);
  int64_t& batch = t.config.train.batch;
  if (batch == kAutoBatch && earlier) batch = earlier->identity.batch;
  const bool open = batch == kAutoBatch;
  const int64_t slice = ((open ? t.samples() : batch) + world - 1) / world;
  t.device_batch = t.config.train.device_batch.value_or(slice);
  FittingBatch found{t.device_batch, 0};
  const bool as_many_ranks = earlier && earlier->world_size == world;
  if (measures) found = measure(t, slice, as_many_ranks ? std::min(earlier->device_batch, slice) : 0);
  t.device_batch = found.images;
  if (open) batch = std::min(found.images * world, t.samples());
  if (measures && t.is_first_rank() && (open || found.images < slice)) {
    t.events.emit(BatchEvent{batch, found.images, found.peak_bytes});
  }
}

}  // namespace tenfold
