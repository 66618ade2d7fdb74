#include "depthwise.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>

#include "full_precision.h"

namespace tenfold {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The switch is the whole process's: no other thread may run convolutions of its own meanwhile.
class WithoutCudnn {
 public:
  WithoutCudnn() { at::globalContext().setUserEnabledCuDNN(false); }
  ~WithoutCudnn() { at::globalContext().setUserEnabledCuDNN(before_); }
  WithoutCudnn(const WithoutCudnn&) = delete;
  WithoutCudnn& operator=(const WithoutCudnn&) = delete;

 private:
  bool before_ = at::globalContext().userEnabledCuDNN();
};

/// ATen's kernels want and give maps channel by channel.
at::Tensor convolved(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride, int64_t padding) {
  const WithoutCudnn scope;
  const auto layout = x.suggest_memory_format();
  return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding}, {1, 1}, x.size(1)).contiguous(layout);
}

/// By itself autograd would choose again how to go back, and choose cuDNN.
class Depthwise : public torch::autograd::Function<Depthwise> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding) {
    context->save_for_backward({x, weight});
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    return convolved(x, weight, {}, stride, padding);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const WithoutCudnn scope;
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const int64_t stride = context->saved_data["stride"].toInt(), padding = context->saved_data["padding"].toInt();
    const auto [dx, dweight, dbias] = at::convolution_backward(
        gradients[0], x, saved[1], at::OptionalIntArrayRef{}, {stride, stride}, {padding, padding}, {1, 1}, /*transposed=*/false,
        {0, 0}, x.size(1), {context->needs_input_grad(0), context->needs_input_grad(1), false});
    return {dx.defined() ? dx.contiguous(x.suggest_memory_format()) : dx, dweight, {}, {}};
  }
};

/// As autocast would have it, had it been asked.
at::Tensor cast(const at::Tensor& tensor) {
  if (!tensor.defined() || !at::autocast::is_autocast_enabled(tensor.device().type())) return tensor;
  const auto device = tensor.device().type();
  return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), tensor, device);
}

}  // namespace

at::Tensor convolve_depthwise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride, int64_t padding) {
  const at::Tensor input = cast(x), kernel = cast(weight), added = cast(bias);
  const FullPrecisionScope no_second_cast;
  if (!at::GradMode::is_enabled()) return convolved(input, kernel, added, stride, padding);
  const at::Tensor y = Depthwise::apply(input, kernel, stride, padding);
  return added.defined() ? y + added.view({1, -1, 1, 1}) : y;
}

bool pays_to_compile(int64_t pictures, int64_t side) {
  constexpr double kPictures = 30'000, kSide = 640;
  const double scale = static_cast<double>(side) / kSide;
  return static_cast<double>(pictures) * scale * scale >= kPictures;
}

}  // namespace tenfold
