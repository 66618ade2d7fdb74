#include "validate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "sample_order.h"
#include "validation_order.h"

namespace tenfold {
namespace {

constexpr float kEvaluationConfidence = 0.001F;

/// The part that rank `rank` of `world_size` takes of each pass.
std::vector<std::vector<int64_t>> slices(const std::vector<std::vector<int64_t>>& passes, int world_size, int rank) {
  std::vector<std::vector<int64_t>> all;
  for (const std::vector<int64_t>& pass : passes) {
    const auto samples = static_cast<int64_t>(pass.size());
    std::vector<int64_t> ids = rank_positions(samples, samples, 0, world_size, rank);
    for (int64_t& id : ids) id = pass[static_cast<size_t>(id)];
    all.push_back(std::move(ids));
  }
  return all;
}

/// Labels as ground_truth() has them, for a picture in which nothing is found: where they lie does not matter.
at::Tensor missed_objects(std::span<const Label> labels) {
  const at::Tensor objects = at::zeros({static_cast<int64_t>(labels.size()), 5}, at::kFloat);
  for (size_t i = 0; i < labels.size(); ++i) objects[static_cast<int64_t>(i)][0] = labels[i].cls;
  return objects;
}

/// The metrics of all ranks' images; computed by rank 0 alone, so that all agree to the bit.
void merge_metrics(const Evaluator& own, int nc, Communicator& ranks, ValidationResult& result) {
  const std::vector<at::Tensor> packed = ranks.gather_rows(own.pack(), "detections");
  const at::Tensor summary = at::zeros({4}, at::kDouble);
  if (ranks.rank() == 0) {
    Evaluator all(nc);
    for (const at::Tensor& rows : packed) all.merge(rows);
    const Metrics& metrics = result.details.emplace(all.compute());
    summary.copy_(at::tensor({metrics.precision, metrics.recall, metrics.map50, metrics.map50_95}, at::kDouble));
  }
  ranks.broadcast({summary}, "metrics");
  const auto value = summary.accessor<double, 1>();
  result.metrics = {value[0], value[1], value[2], value[3]};
}

}  // namespace

at::Tensor ground_truth(const Batch& batch, int64_t image) {
  const at::Tensor own = batch.targets.index({batch.targets.select(1, 0) == image});
  const at::Tensor sides = at::tensor({batch.images.size(3), batch.images.size(2)}, at::kFloat);
  const at::Tensor centre = own.narrow(1, 2, 2);
  const at::Tensor half = own.narrow(1, 4, 2) / 2;
  return at::cat({own.narrow(1, 1, 1), (centre - half) * sides, (centre + half) * sides}, 1);
}

/// Boxes of the input as far as they lie on the picture itself, as the published trainers compare them: nobody can tell how
/// far an object goes on beyond its edge. The corners are four columns from `first` on.
at::Tensor on_picture(const at::Tensor& boxes, int64_t first, const LetterboxInfo& fit) {
  at::Tensor cut = boxes.clone();
  for (const int64_t corner : {first, first + 2}) {
    cut.select(1, corner).clamp_(fit.pad_x, fit.pad_x + static_cast<float>(fit.width));
    cut.select(1, corner + 1).clamp_(fit.pad_y, fit.pad_y + static_cast<float>(fit.height));
  }
  return cut;
}

void add_images(Evaluator& evaluator, const Batch& batch, const std::vector<Detections>& found, const Dataset& data) {
  for (size_t i = 0; i < batch.ids.size(); ++i) {
    const int64_t id = batch.ids[i];
    if (batch.unreadable.contains(id)) {
      evaluator.add_image(id, at::zeros({0, 6}, at::kFloat), missed_objects(data.labels(id)));
    } else {
      const LetterboxInfo& fit = batch.letterbox[i];
      evaluator.add_image(id, on_picture(found[i], 0, fit), on_picture(ground_truth(batch, static_cast<int64_t>(i)), 1, fit));
    }
  }
}

LossTerms terms_of_slice(Detector& model, DetectionLoss& loss, const Batch& batch, const ComputeDevice& device,
                         std::vector<at::Tensor>* raw_out) {
  const auto height = static_cast<int>(batch.images.size(2)), width = static_cast<int>(batch.images.size(3));
  // A rank without pictures computes too: the graph must reach every parameter, or the others would wait for this rank's
  // gradients, and for its part of batch statistics, for ever.
  std::vector<at::Tensor> raw;
  {
    const AutocastScope autocast(device);
    raw = model.forward(network_input(batch.images, device));
  }
  LossTerms terms = loss.terms(raw, batch.targets.to(device.device, /*non_blocking=*/true), height, width);
  if (raw_out != nullptr) *raw_out = std::move(raw);
  return terms;
}

LossResult loss_of_slice(Detector& model, DetectionLoss& loss, const Batch& batch, const ComputeDevice& device,
                         std::vector<at::Tensor>* raw_out) {
  const LossTerms terms = terms_of_slice(model, loss, batch, device, raw_out);
  return loss.divide(terms, loss.over_ranks(terms.normalisers));
}

Validator::Validator(Dataset data, ValidatorOptions options, std::unique_ptr<DetectionLoss> loss)
    : data_(data),
      stride_(options.stride),
      loader_(std::move(data), {.imgsz = options.imgsz,
                                .threads = options.threads,
                                .prefetch = 2,
                                .cache_bytes = options.cache.memory_bytes,
                                .folder = std::move(options.cache.folder)}),
      loss_(std::move(loss)) {
  for (const std::vector<int64_t>& batch : batches_of(by_shape(data_), options.batch))
    for (std::vector<int64_t>& pass : batches_of(batch, std::min(options.batch, options.at_once))) {
      passes_.push_back(std::move(pass));
      shaped_by_.push_back(batch);
    }
}

ValidationResult Validator::run(Detector& model, const ComputeDevice& device, Communicator& ranks,
                                const std::function<void(int64_t, int64_t)>& progress,
                                const std::function<void(const Corrupt&)>& on_corrupt) {
  const at::NoGradGuard no_grad;
  loss_->set_sum_over_ranks([&ranks](at::Tensor tensor) { return ranks.sum(std::move(tensor), "normalisers of the validation loss"); });
  loader_.start(1, slices(passes_, ranks.world_size(), ranks.rank()), std::nullopt, {shaped_by_, stride_});
  Evaluator evaluator(model.nc());
  const DetectOptions options{.conf = kEvaluationConfidence, .multi_label = true};
  const auto item_count = static_cast<int64_t>(loss_item_names(model.family()).size());
  at::Tensor items = at::zeros({item_count}, at::TensorOptions().dtype(at::kFloat).device(device.device));
  int64_t done = 0, unreadable = 0;
  for (const std::vector<int64_t>& pass : passes_) {
    const std::optional<Batch> batch = loader_.next();
    for (const Corrupt& corrupt : batch->corrupt) on_corrupt(corrupt);
    std::vector<at::Tensor> raw;
    const LossResult loss = loss_of_slice(model, *loss_, *batch, device, &raw);
    const auto images = static_cast<int64_t>(pass.size());
    items += loss.items * static_cast<double>(images);
    const std::vector<Detections> found =
        batch->ids.empty() ? std::vector<Detections>{} : detect(raw, model.head_layout(), options);
    add_images(evaluator, *batch, found, data_);
    unreadable += static_cast<int64_t>(batch->unreadable.size());
    done += images;
    progress(done, data_.size());
  }
  ValidationResult result;
  const auto own_unreadable = at::tensor({static_cast<double>(unreadable)}, at::kDouble);
  const at::Tensor sums = ranks.sum(at::cat({items.to(at::kCPU, at::kDouble), own_unreadable}), "validation loss");
  result.unreadable = sums[-1].item<int64_t>();
  // Each rank's items are world_size times its share (see DetectionLoss): their mean over the ranks is the batch's.
  const double parts = static_cast<double>(ranks.world_size()) * static_cast<double>(std::max<int64_t>(done, 1));
  result.loss = named_items(model.family(), sums.narrow(0, 0, item_count) / parts);
  merge_metrics(evaluator, model.nc(), ranks, result);
  return result;
}

}  // namespace tenfold
