#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "collective.h"
#include "dataset.h"
#include "device.h"
#include "evaluate.h"
#include "events.h"
#include "loader.h"
#include "loss.h"
#include "model.h"
#include "picture_cache.h"
#include "progress.h"

namespace tenfold {

/// Runs the loss of a part of a rank's slice, undivided; `raw_out` gets the network's output.
LossTerms terms_of_slice(Detector& model, DetectionLoss& loss, const Batch& batch, const ComputeDevice& device,
                         std::vector<at::Tensor>* raw_out = nullptr);

/// Runs the loss of a rank's slice of a global batch. A rank whose slice is empty takes part with nothing: it makes the
/// same exchanges and adds zero.
LossResult loss_of_slice(Detector& model, DetectionLoss& loss, const Batch& batch, const ComputeDevice& device,
                         std::vector<at::Tensor>* raw_out = nullptr);

/// Labels of one image of a batch as class and corners in pixels of the network's input, (K, 5).
at::Tensor ground_truth(const Batch& batch, int64_t image);

/// Adds a batch's images with what was found in each. One that could not be read for this batch counts as one in which
/// nothing is found: the objects that `data` has in it are missed.
void add_images(Evaluator& evaluator, const Batch& batch, const std::vector<Detections>& found, const Dataset& data);

struct ValidationResult {
  MetricSummary metrics;
  LossItems loss;
  int64_t unreadable = 0;  // images of all ranks that could not be read in this run
  /// Class by class, with curves and confusion matrix; rank 0 alone has it.
  std::optional<Metrics> details;
};

struct ValidatorOptions {
  int imgsz = 640;
  int stride = 32;       // of the network
  int64_t batch = 16;    // images that are given one shape
  int64_t at_once = 16;  // images that all ranks together compute at once, at most
  int threads = 1;       // that decode pictures
  PictureCache cache{};
};

/// Validates a model on a whole data set, shared out over the ranks as training batches are; metrics and loss are the
/// same on every rank. The metrics do not depend on the ranks' number, nor on what they compute at once.
class Validator {
 public:
  /// The network sees each batch as a rectangle that holds its pictures, with a margin (see Loader::start).
  Validator(Dataset data, ValidatorOptions options, std::unique_ptr<DetectionLoss> loss);

  /// `model` must be in eval mode. `progress(done, total)` is called now and then, in images of all ranks. Corrupt
  /// pictures are told to `on_corrupt`, each once; their objects count as missed, and the loss is without them.
  ValidationResult run(Detector& model, const ComputeDevice& device, Communicator& ranks,
                       const std::function<void(int64_t done, int64_t total)>& progress,
                       const std::function<void(const Corrupt&)>& on_corrupt);

  const Dataset& data() const { return data_; }

 private:
  Dataset data_;
  int stride_;
  std::vector<std::vector<int64_t>> passes_, shaped_by_;  // ids, of all ranks
  Loader loader_;
  std::unique_ptr<DetectionLoss> loss_;
};

}  // namespace tenfold
