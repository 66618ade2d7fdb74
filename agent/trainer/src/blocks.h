// The building blocks of the networks, with the parameter names of the published checkpoints.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>

#include <functional>
#include <memory>
#include <vector>

#include "batch_norm.h"

namespace tenfold {

/// One map in, one map out.
class Block : public torch::nn::Module {
 public:
  virtual at::Tensor forward(const at::Tensor& x) = 0;

 protected:
  /// Whether no gradient will be asked for and running statistics hold: batch norms may be folded into weights.
  bool may_fold() const;
};

/// Blocks one after the other, numbered from 0.
class Chain : public Block {
 public:
  explicit Chain(std::vector<std::shared_ptr<Block>> links);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  std::vector<std::shared_ptr<Block>> links_;
};

struct ConvOptions {
  int64_t stride = 1;
  int64_t groups = 1;
  bool activation = true;
};

/// Convolution without bias, batch norm (eps 1e-3, momentum 0.03), SiLU where `activation`. An odd kernel gives
/// ceil(size / stride) cells; an even one needs a stride above 1, and then gives size / stride.
class Conv : public Block {
 public:
  Conv(int64_t in, int64_t out, int64_t kernel, const ConvOptions& options = {});
  at::Tensor forward(const at::Tensor& x) override;

  /// One convolution that equals this one and its batch norm with the running statistics.
  struct Folded {
    at::Tensor weight, bias;
  };
  Folded folded() const;

 private:
  torch::nn::Conv2d conv_{nullptr};
  BatchNorm bn_{nullptr};
  ConvOptions options_;
  int64_t padding_;
};

/// Two Convs, the second 3x3; the input is added to their output where `shortcut`.
class Bottleneck : public Block {
 public:
  Bottleneck(int64_t channels, bool shortcut, int64_t first_kernel);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  std::shared_ptr<Conv> cv1_, cv2_;
  bool shortcut_;
};

/// Makes a link of a chain that keeps the number of channels.
using LinkMaker = std::function<std::shared_ptr<Block>(int64_t channels)>;

/// Half of a 1x1 Conv's channels runs through a chain; both halves and every link of the chain are joined and mixed by
/// another 1x1 Conv.
class C2f : public Block {
 public:
  C2f(int64_t in, int64_t out, int repeats, const LinkMaker& make_link);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  int64_t hidden_;
  std::shared_ptr<Conv> cv1_, cv2_;
  std::vector<std::shared_ptr<Block>> chain_;
};

/// Cross-stage partial block (Wang et al., "CSPNet", 2020): a 1x1 Conv and a chain after it, a second 1x1 Conv beside
/// them, and a third that mixes both.
class C3 : public Block {
 public:
  C3(int64_t in, int64_t out, int repeats, bool shortcut);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  std::shared_ptr<Conv> cv1_, cv2_, cv3_;
  std::shared_ptr<Chain> chain_;
};

/// Spatial pyramid pooling by three max-pools in a row, between 1x1 Convs (He et al., 2015).
class SPPF : public Block {
 public:
  SPPF(int64_t in, int64_t out, int64_t kernel);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  int64_t kernel_;
  std::shared_ptr<Conv> cv1_, cv2_;
};

}  // namespace tenfold
