#include "batch_norm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <tuple>

#include "norm_silu.h"

namespace tenfold {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Mean and biased variance of every channel over the slices of all ranks, and how many values that are: (C), (C), ().
struct Statistics {
  at::Tensor mean, variance, count;
};

/// Those of the parts are combined as Chan, Golub and LeVeque do it ("Updating formulae and a pairwise algorithm for
/// computing sample variances", 1979): no difference of large sums, so nothing cancels.
Statistics statistics_of_all(const at::Tensor& x, const at::Tensor& weight, Communicator& ranks) {
  const int64_t channels = x.size(1);
  const double own_count = static_cast<double>(x.numel()) / static_cast<double>(channels);
  at::Tensor own = at::zeros({2 * channels + 1}, weight.options());
  own[2 * channels].fill_(own_count);
  if (own_count > 0) {
    // Given running statistics in float, those of a bfloat16 map come in float as well.
    const at::Tensor unused = at::zeros_like(weight);
    const auto [mean, variance] = at::batch_norm_update_stats(x, unused, unused.clone(), 0);
    own.narrow(0, 0, channels).copy_(mean);
    own.narrow(0, channels, channels).copy_(variance);
  }
  const at::Tensor all = ranks.stack(own, "batch statistics").to(at::kDouble);  // (W, 2 C + 1)
  const at::Tensor means = all.narrow(1, 0, channels), variances = all.narrow(1, channels, channels);
  const at::Tensor counts = all.narrow(1, 2 * channels, 1);
  const at::Tensor count = counts.sum();
  const at::Tensor divisor = count.clamp_min(1);
  const at::Tensor mean = (means * counts).sum(0) / divisor;
  const at::Tensor variance = ((variances + (means - mean).square()) * counts).sum(0) / divisor;
  return {mean.to(weight.scalar_type()), variance.to(weight.scalar_type()), count};
}

at::Tensor by_channel(const at::Tensor& values) { return values.view({1, -1, 1, 1}); }

/// Let y = g (x - m) r + b with r = 1 / sqrt(v + eps) and N values of a channel over all ranks. Then
///   dL/dx = g r (dy - mean(dy) - xn mean(dy xn)),   xn = (x - m) r,
/// with the means over all ranks (Ioffe and Szegedy, 2015). ATen's kernel takes them over the own slice; what the others
/// add is an affine function of x.
struct SharedBatchNorm : torch::autograd::Function<SharedBatchNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            const Statistics& all, double eps, Communicator* ranks) {
    ctx->save_for_backward({x, weight, all.mean, at::rsqrt(all.variance + eps), all.count});
    ctx->saved_data["ranks"] = reinterpret_cast<int64_t>(ranks);
    if (x.numel() == 0) return x.clone();
    return std::get<0>(at::native_batch_norm(x, weight, bias, all.mean, all.variance, /*training=*/false, 0, eps));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &mean = saved[2], &inverse_std = saved[3], &count = saved[4];
    auto* ranks = reinterpret_cast<Communicator*>(ctx->saved_data["ranks"].toInt());
    const int64_t channels = x.size(1);
    at::Tensor dx, dweight, dbias;
    if (x.numel() > 0) {
      std::tie(dx, dweight, dbias) =
          at::native_batch_norm_backward(gradients[0].contiguous(x.suggest_memory_format()), x, weight, {}, {}, mean,
                                         inverse_std, /*train=*/true, 0, {true, true, true});
    } else {
      dx = at::zeros_like(x);
      dweight = dbias = at::zeros_like(weight);
    }
    // (2 C): Σ dy xn and Σ dy, which are the gradients of weight and bias.
    const at::Tensor own = at::cat({dweight, dbias});
    const at::Tensor all = ranks->sum(own.clone(), "gradients of batch statistics");
    if (x.numel() > 0) {
      const double own_count = static_cast<double>(x.numel()) / static_cast<double>(channels);
      const at::Tensor excess = (own / own_count - all / count).to(weight.scalar_type());  // of the own means
      const at::Tensor gain = weight * inverse_std;
      const at::Tensor slope = gain * inverse_std * excess.narrow(0, 0, channels);
      const at::Tensor offset = gain * excess.narrow(0, channels, channels);
      // In the statistics' precision, also where the map is in bfloat16: its mean may be far from zero.
      const at::Tensor centred = x - by_channel(mean);
      dx = at::addcmul(dx + by_channel(offset), centred, by_channel(slope)).to(x.scalar_type());
    }
    return {dx, dweight, dbias, {}, {}, {}};
  }
};

}  // namespace

at::Tensor BatchNormImpl::forward(const at::Tensor& x) {
  if (is_training() && ranks_ != nullptr) return forward_with_others(x);
  const int64_t too_few = is_training() ? x.size(1) : 0;  // one value a channel has no variance, and torch refuses it
  if (x.numel() > too_few) return torch::nn::BatchNorm2dImpl::forward(x);
  return at::batch_norm(x, weight, bias, running_mean, running_var, /*training=*/false, 0, options.eps(), false);
}

at::Tensor BatchNormImpl::forward_silu(const at::Tensor& x) {
  const NormState state{weight, bias, running_mean, running_var, options.eps(), options.momentum().value()};
  if (!is_training() || ranks_ != nullptr || !norm_silu_takes(x, state)) return at::silu(forward(x));
  num_batches_tracked.add_(1);
  return norm_silu(x, state);
}

at::Tensor BatchNormImpl::forward_with_others(const at::Tensor& x) {
  Statistics all;
  {
    const at::NoGradGuard no_grad;
    all = statistics_of_all(x, weight, *ranks_);
    const at::Tensor any = all.count.clamp_max(1);  // 0 where no rank has a picture: nothing is learnt then
    const at::Tensor share = (any * options.momentum().value()).to(running_mean.scalar_type());
    const at::Tensor unbiased = all.variance * (all.count / (all.count - 1).clamp_min(1));
    running_mean.lerp_(all.mean, share);
    running_var.lerp_(unbiased.to(running_var.scalar_type()), share);
    num_batches_tracked.add_(any.to(at::kLong));
  }
  return SharedBatchNorm::apply(x, weight, bias, all, options.eps(), ranks_);
}

void share_batch_statistics(torch::nn::Module& network, Communicator* ranks) {
  network.apply([ranks](torch::nn::Module& module) {
    if (auto* norm = module.as<BatchNormImpl>()) norm->share_with(ranks);
  });
}

}  // namespace tenfold
