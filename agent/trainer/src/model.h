// The detector: layers from a ModelSpec, wired as it says, named as the published checkpoints name them.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "head_layout.h"
#include "model_spec.h"

namespace tenfold {

class Head;
struct Layer;

/// Called after each layer with its number and its outputs (one, or one a scale for the head).
using LayerObserver = std::function<void(size_t layer, const std::vector<at::Tensor>& outputs)>;

class Detector : public torch::nn::Module {
 public:
  /// Builds the layers with fresh weights from the default generator (seed it first). Throws ModelError.
  Detector(const ModelSpec& spec, int nc);
  ~Detector() override;

  /// Raw head maps, finest first, for s in strides.
  /// v8: (B, 4*reg_max + nc, H/s, W/s), box logits first; v10: the same twice, first of the branches that many anchors
  /// learn from for each box, then of those that one does; v5: (B, anchors, H/s, W/s, 5 + nc).
  /// `images` is (B, 3, H, W), RGB in 0..1, H and W multiples of `max_stride()`.
  std::vector<at::Tensor> forward(const at::Tensor& images, const LayerObserver& observe = {});

  /// The maps that detections are made from, and no work for others: v10's second branches; all where there are no
  /// others. detect() and decode() take either.
  std::vector<at::Tensor> forward_detecting(const at::Tensor& images);

  const HeadLayout& head_layout() const { return layout_; }
  const std::vector<int>& strides() const { return layout_.strides; }
  int max_stride() const { return max_stride_; }  // of any layer's map
  int nc() const { return layout_.nc; }
  Family family() const { return layout_.family; }
  const ModelSpec& spec() const { return spec_; }

  /// Number of all parameters, frozen ones (the DFL's bins) included, as the published tables count.
  int64_t parameter_count() const;

 private:
  /// The maps that the head looks at.
  std::vector<at::Tensor> features(const at::Tensor& images, const LayerObserver& observe);
  void forget_after(size_t layer, std::vector<at::Tensor>& outputs) const;

  ModelSpec spec_;
  HeadLayout layout_;
  int max_stride_ = 1;
  std::vector<Layer> layers_;  // every layer but the last
  std::shared_ptr<Head> head_;
  std::vector<size_t> last_reader_;  // by layer: the last layer that takes its output
};

/// A detector for `nc` classes in training mode on the CPU. Throws ModelError.
std::shared_ptr<Detector> build_detector(const ModelSpec& spec, int nc);

/// All parameters, then all buffers, with their published names.
std::vector<std::pair<std::string, at::Tensor>> named_state(const torch::nn::Module& model);

}  // namespace tenfold
