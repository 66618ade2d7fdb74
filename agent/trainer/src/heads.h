// The last layers of detectors, with the parameter names of the published checkpoints.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>

#include <memory>
#include <string>
#include <vector>

#include "blocks.h"
#include "head_layout.h"

namespace tenfold {

/// The last layer: maps of several scales in, raw predictions of several scales out.
class Head : public torch::nn::Module {
 public:
  virtual std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) = 0;
  /// Only the maps that detections are made from; the same where nothing else is there.
  virtual std::vector<at::Tensor> forward_detecting(const std::vector<at::Tensor>& inputs) { return forward(inputs); }
  virtual HeadLayout layout() const = 0;
};

/// A few blocks and a plain 1x1 convolution, numbered from 0.
class HeadBranch : public torch::nn::Module {
 public:
  HeadBranch(std::vector<std::shared_ptr<Block>> blocks, int64_t hidden, int64_t out);
  at::Tensor forward(const at::Tensor& x);

  torch::nn::Conv2d last{nullptr};

 private:
  std::vector<std::shared_ptr<Block>> blocks_;
};

/// For every scale a branch for the box sides' distributions and one for the class scores.
struct DecoupledBranches {
  std::vector<std::shared_ptr<HeadBranch>> box, cls;

  /// (B, 4 * reg_max + nc, H, W) by scale, box logits first.
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) const;
};

/// v8's head.
class Detect : public Head {
 public:
  /// `channels` and `strides` by scale, finest first.
  Detect(const std::vector<int64_t>& channels, const std::vector<int>& strides, int nc, int reg_max);
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override { return branches_.forward(inputs); }
  HeadLayout layout() const override { return layout_; }

 private:
  HeadLayout layout_;
  DecoupledBranches branches_;
};

/// v10's head: branches whose anchors may all find a box, for learning, and branches that find each box once, for
/// detecting. The second learn from features that they do not shape.
class DualDetect : public Head {
 public:
  DualDetect(const std::vector<int64_t>& channels, const std::vector<int>& strides, int nc, int reg_max);
  /// The maps of the first branches, then those of the second.
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override;
  std::vector<at::Tensor> forward_detecting(const std::vector<at::Tensor>& inputs) override;
  HeadLayout layout() const override { return layout_; }

 private:
  HeadLayout layout_;
  DecoupledBranches one_to_many_, one_to_one_;
};

/// v5's head: a 1x1 convolution a scale predicts, for every anchor shape, box, objectness and class scores.
class AnchorDetect : public Head {
 public:
  /// `anchors`: widths and heights in pixels, by scale, equally many of them each.
  AnchorDetect(const std::vector<int64_t>& channels, const std::vector<int>& strides, int nc,
               const std::vector<double>& anchors);
  /// (B, anchors, H, W, 5 + nc) by scale: x, y, w, h, objectness, classes.
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override;
  HeadLayout layout() const override { return layout_; }

 private:
  void initialise_biases();

  HeadLayout layout_;
  std::vector<torch::nn::Conv2d> convs_;  // by scale
};

}  // namespace tenfold
