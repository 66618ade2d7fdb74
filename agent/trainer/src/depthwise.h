#pragma once

#include <ATen/core/Tensor.h>

namespace tenfold {

/// Whether a convolution of `groups` groups by `weight` (out, in / groups, H, W) takes each channel by itself.
inline bool is_depthwise(const at::Tensor& weight, int64_t groups) {
  return groups > 1 && groups == weight.size(0) && weight.size(1) == 1;
}

/// A depthwise convolution of (B, C, H, W), in its layout and under autocast in autocast's type, by ATen's own kernels,
/// forward and backward: for GPUs. They are there at once. `bias` may be undefined.
at::Tensor convolve_depthwise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride, int64_t padding);

/// Whether this thread's passes leave depthwise convolutions on GPUs to cuDNN for as long as it lives. Its kernels take two
/// thirds of the time of ATen's, but are compiled anew for every shape of a map, in every process: that pays for a shape
/// that comes again tens of thousands of times. Elsewhere (validation, a measurement of memory, the rest of an epoch) YOLOv10
/// would wait seconds for each shape of pictures.
class CompiledDepthwise {
 public:
  explicit CompiledDepthwise(bool wanted) : before_(wanted_) { wanted_ = wanted; }
  ~CompiledDepthwise() { wanted_ = before_; }
  CompiledDepthwise(const CompiledDepthwise&) = delete;
  CompiledDepthwise& operator=(const CompiledDepthwise&) = delete;

  static bool wanted() { return wanted_; }

 private:
  static inline thread_local bool wanted_ = false;
  bool before_;
};

/// Whether so many square pictures, all in batches of one size, pay for the compilation. Measured on an H100, bfloat16: it
/// takes 8 to 13 s; a picture of 640 pixels then takes 0.25 ms less (YOLOv10n) to 0.9 ms less (YOLOv10m).
bool pays_to_compile(int64_t pictures, int64_t side);

}  // namespace tenfold
