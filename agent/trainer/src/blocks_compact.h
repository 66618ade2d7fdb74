// Blocks that do more with fewer multiplications: separable convolutions and attention on coarse maps (Wang et al.,
// "YOLOv10", NeurIPS 2024, section 3.2).
#pragma once

#include "blocks.h"

namespace tenfold {

/// A 3x3 Conv on each channel by itself, then a 1x1 Conv that mixes them.
std::shared_ptr<Chain> separable_conv(int64_t in, int64_t out);

/// Spatial-channel decoupled downsampling: a 1x1 Conv changes the channels, then one on each channel the size.
class SCDown : public Block {
 public:
  SCDown(int64_t in, int64_t out, int64_t kernel, int64_t stride);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  std::shared_ptr<Conv> cv1_, cv2_;
};

/// The sum of a 7x7 and a 3x3 convolution on each channel, which inference computes as one 7x7 (Ding et al., "RepVGG",
/// 2021).
class WideDepthwise : public Block {
 public:
  explicit WideDepthwise(int64_t channels);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  std::shared_ptr<Conv> wide_, narrow_;
};

/// Compact inverted block: depthwise and 1x1 Convs in turns, twice as many channels in the middle.
class CIB : public Block {
 public:
  CIB(int64_t channels, bool shortcut, bool large_kernel);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  std::shared_ptr<Chain> chain_;
  bool shortcut_;
};

/// Multi-head self-attention over the cells of a map; a depthwise Conv of the values tells where they are.
class Attention : public Block {
 public:
  /// `channels` must be a multiple of `heads`.
  Attention(int64_t channels, int64_t heads);
  at::Tensor forward(const at::Tensor& x) override;

 private:
  at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values) const;

  int64_t heads_, value_channels_, key_channels_;  // of a head
  std::shared_ptr<Conv> qkv_, proj_, pe_;
};

/// Partial self-attention: half of the channels pass an attention and a feed-forward layer.
class PSA : public Block {
 public:
  /// `channels` must be even, and its half a multiple of heads_of(channels).
  explicit PSA(int64_t channels);
  at::Tensor forward(const at::Tensor& x) override;
  static int64_t heads_of(int64_t channels);

 private:
  int64_t hidden_;
  std::shared_ptr<Conv> cv1_, cv2_;
  std::shared_ptr<Attention> attn_;
  std::shared_ptr<Chain> ffn_;
};

}  // namespace tenfold
