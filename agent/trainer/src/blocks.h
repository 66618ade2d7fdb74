// The building blocks of the networks, with the parameter names of the published checkpoints.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>

#include <memory>
#include <vector>

#include "head_layout.h"

namespace tenfold {

/// The last layer: maps of several scales in, raw predictions of several scales out.
class Head : public torch::nn::Module {
 public:
  virtual std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) = 0;
  virtual HeadLayout layout() const = 0;
};

/// Convolution without bias, batch norm (eps 1e-3, momentum 0.03), SiLU. `same` padding.
class Conv : public torch::nn::Module {
 public:
  Conv(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1);
  at::Tensor forward(const at::Tensor& x);

 private:
  at::Tensor forward_folded(const at::Tensor& x);

  torch::nn::Conv2d conv_{nullptr};
  torch::nn::BatchNorm2d bn_{nullptr};
};

/// Two 3x3 Convs; the input is added to their output where `shortcut`.
class Bottleneck : public torch::nn::Module {
 public:
  Bottleneck(int64_t channels, bool shortcut);
  at::Tensor forward(const at::Tensor& x);

 private:
  std::shared_ptr<Conv> cv1_, cv2_;
  bool shortcut_;
};

/// Half of a 1x1 Conv's channels runs through a chain of bottlenecks; both halves and every link of the chain are
/// joined and mixed by another 1x1 Conv.
class C2f : public torch::nn::Module {
 public:
  C2f(int64_t in, int64_t out, int repeats, bool shortcut);
  at::Tensor forward(const at::Tensor& x);

 private:
  int64_t hidden_;
  std::shared_ptr<Conv> cv1_, cv2_;
  std::vector<std::shared_ptr<Bottleneck>> chain_;
};

/// Spatial pyramid pooling by three max-pools in a row, between 1x1 Convs (He et al., 2015).
class SPPF : public torch::nn::Module {
 public:
  SPPF(int64_t in, int64_t out, int64_t kernel);
  at::Tensor forward(const at::Tensor& x);

 private:
  int64_t kernel_;
  std::shared_ptr<Conv> cv1_, cv2_;
};

/// Fixed 1x1 convolution that takes the mean of a distribution over bins (Li et al., "Generalized Focal Loss", 2020).
/// Decoding computes the mean directly; the module exists because published checkpoints carry its weights.
class DflBins : public torch::nn::Module {
 public:
  explicit DflBins(int bins);

 private:
  torch::nn::Conv2d conv_{nullptr};
};

/// v8's head: for every scale a branch for the box sides' distributions and one for the class scores.
class Detect : public Head {
 public:
  /// `channels` and `strides` by scale, finest first.
  Detect(const std::vector<int64_t>& channels, const std::vector<int>& strides, int nc, int reg_max);
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override;
  HeadLayout layout() const override { return layout_; }

 private:
  class Branch;
  void initialise_biases();

  HeadLayout layout_;
  std::vector<std::shared_ptr<Branch>> box_, cls_;  // by scale
};

}  // namespace tenfold
