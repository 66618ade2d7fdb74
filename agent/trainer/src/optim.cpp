#include "optim.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/nn/module.h>

#include <cmath>
#include <map>

#include "exit_code.h"

namespace tenfold {
namespace {

constexpr int64_t kFineTuningSteps = 10'000;

ParameterGroup group_of(const std::string& name, const at::Tensor& parameter) {
  if (name.ends_with("bias")) return kBiases;
  return parameter.dim() > 1 ? kWeights : kNorms;
}

std::vector<at::Tensor> gradients_of(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> gradients;
  gradients.reserve(parameters.size());
  for (const at::Tensor& parameter : parameters) {
    TORCH_CHECK(parameter.grad().defined(), "a parameter has no gradient");
    gradients.push_back(parameter.grad());
  }
  return gradients;
}

/// (n) a tensor's numbers as they lie in memory, without a copy.
at::Tensor as_they_lie(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_non_overlapping_and_dense(), "a parameter has gaps in memory");
  return tensor.as_strided({tensor.numel()}, {1});
}

std::vector<at::Tensor> as_they_lie(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> flat;
  flat.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) flat.push_back(as_they_lie(tensor.detach()));
  return flat;
}

/// Whether two tensors of one shape have their numbers in the same order. The stride of a dimension of one says nothing.
bool lie_alike(const at::Tensor& a, const at::Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

/// The parameters' gradients in the order of the parameters' own memory. ATen's fused optimizers go by that order on CPUs,
/// whatever the strides say, and copy each tensor that is not contiguous first.
std::vector<at::Tensor> gradients_as_parameters_lie(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> gradients = gradients_of(parameters);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const bool alike = lie_alike(gradients[i], parameters[i]);
    gradients[i] = as_they_lie(alike ? gradients[i] : at::empty_like(parameters[i]).copy_(gradients[i]));
  }
  return gradients;
}

std::vector<at::Tensor> zeros_beside(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> zeros;
  for (const at::Tensor& tensor : tensors) zeros.push_back(at::zeros_like(tensor.detach()));
  return zeros;
}

void append_named(NamedTensors& out, const NamedParameters& group, const std::vector<at::Tensor>& tensors,
                  const std::string& what) {
  for (size_t i = 0; i < tensors.size(); ++i) out.emplace_back(group.names[i] + "." + what, tensors[i]);
}

class Sgd final : public Optimizer {
 public:
  Sgd(std::array<NamedParameters, 3> groups, double weight_decay)
      : groups_(std::move(groups)), weight_decay_(weight_decay) {
    for (size_t g = 0; g < groups_.size(); ++g) velocity_[g] = zeros_beside(groups_[g].tensors);
  }

  void step(const StepRates& rates) override {
    const at::NoGradGuard no_grad;
    // Without momentum the kernel refuses a velocity.
    const bool has_momentum = rates.momentum != 0;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].tensors.empty()) continue;
      const auto velocity = has_momentum ? as_they_lie(velocity_[g]) : std::vector<at::Tensor>();
      at::_fused_sgd_(as_they_lie(groups_[g].tensors), gradients_as_parameters_lie(groups_[g].tensors), velocity,
                      g == kWeights ? weight_decay_ : 0.0, rates.momentum, rates.lr[g], /*dampening=*/0.0,
                      /*nesterov=*/has_momentum, /*maximize=*/false, /*is_first_step=*/false);
    }
  }
  std::string name() const override { return "SGD"; }
  NamedTensors state() const override {
    NamedTensors all;
    for (size_t g = 0; g < groups_.size(); ++g) append_named(all, groups_[g], velocity_[g], "momentum");
    return all;
  }

 private:
  std::array<NamedParameters, 3> groups_;
  std::array<std::vector<at::Tensor>, 3> velocity_;
  double weight_decay_;
};

enum class Decay { in_gradient, apart };

class Adam final : public Optimizer {
 public:
  Adam(std::array<NamedParameters, 3> groups, double weight_decay, Decay decay)
      : groups_(std::move(groups)), weight_decay_(weight_decay), decay_(decay) {
    for (size_t g = 0; g < groups_.size(); ++g) {
      mean_[g] = zeros_beside(groups_[g].tensors);
      square_[g] = zeros_beside(groups_[g].tensors);
      for (const at::Tensor& tensor : groups_[g].tensors) {
        steps_[g].push_back(at::zeros({}, tensor.options().dtype(at::kFloat).requires_grad(false)));
      }
    }
  }

  void step(const StepRates& rates) override {
    const at::NoGradGuard no_grad;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].tensors.empty()) continue;
      at::_foreach_add_(steps_[g], 1);
      const auto parameters = as_they_lie(groups_[g].tensors);
      const auto gradients = gradients_as_parameters_lie(groups_[g].tensors);
      const auto mean = as_they_lie(mean_[g]), square = as_they_lie(square_[g]);
      const double decay = g == kWeights ? weight_decay_ : 0.0;
      if (decay_ == Decay::apart) {
        at::_fused_adamw_(parameters, gradients, mean, square, /*max_exp_avg_sqs=*/{}, steps_[g],
                          rates.lr[g], /*beta1=*/rates.momentum, kBeta2, decay, kEps, /*amsgrad=*/false,
                          /*maximize=*/false);
      } else {
        at::_fused_adam_(parameters, gradients, mean, square, /*max_exp_avg_sqs=*/{}, steps_[g],
                         rates.lr[g], /*beta1=*/rates.momentum, kBeta2, decay, kEps, /*amsgrad=*/false,
                         /*maximize=*/false);
      }
    }
  }
  std::string name() const override { return decay_ == Decay::apart ? "AdamW" : "Adam"; }
  NamedTensors state() const override {
    NamedTensors all;
    for (size_t g = 0; g < groups_.size(); ++g) {
      append_named(all, groups_[g], mean_[g], "mean");
      append_named(all, groups_[g], square_[g], "square");
      append_named(all, groups_[g], steps_[g], "steps");
    }
    return all;
  }

 private:
  static constexpr double kBeta2 = 0.999;
  static constexpr double kEps = 1e-8;

  std::array<NamedParameters, 3> groups_;
  std::array<std::vector<at::Tensor>, 3> mean_;
  std::array<std::vector<at::Tensor>, 3> square_;
  std::array<std::vector<at::Tensor>, 3> steps_;
  double weight_decay_;
  Decay decay_;
};

}  // namespace

std::array<NamedParameters, 3> group_parameters(const torch::nn::Module& model) {
  std::array<NamedParameters, 3> groups;
  for (const auto& item : model.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    NamedParameters& group = groups[group_of(item.key(), item.value())];
    group.names.push_back(item.key());
    group.tensors.push_back(item.value());
  }
  return groups;
}

void Optimizer::load_state(const NamedTensors& saved) {
  const at::NoGradGuard no_grad;
  const std::map<std::string, at::Tensor> by_name(saved.begin(), saved.end());
  const NamedTensors own = state();
  for (const auto& [tensor_name, tensor] : own) {
    const auto found = by_name.find(tensor_name);
    if (found == by_name.end() || found->second.sizes() != tensor.sizes()) {
      throw TrainerError(ExitCode::bad_checkpoint, "the optimizer's state does not fit the model at " + tensor_name);
    }
    tensor.copy_(found->second);
  }
  if (by_name.size() != own.size()) {
    throw TrainerError(ExitCode::bad_checkpoint, "the optimizer's state belongs to another optimizer than " + name());
  }
}

std::unique_ptr<Optimizer> make_sgd(std::array<NamedParameters, 3> groups, double weight_decay) {
  return std::make_unique<Sgd>(std::move(groups), weight_decay);
}

std::unique_ptr<Optimizer> make_adam(std::array<NamedParameters, 3> groups, double weight_decay) {
  return std::make_unique<Adam>(std::move(groups), weight_decay, Decay::in_gradient);
}

std::unique_ptr<Optimizer> make_adamw(std::array<NamedParameters, 3> groups, double weight_decay) {
  return std::make_unique<Adam>(std::move(groups), weight_decay, Decay::apart);
}

TrainArguments resolve_optimizer(TrainArguments arguments, bool fine_tuning, int64_t samples, int64_t nc) {
  if (arguments.optimizer != "auto") return arguments;
  const int64_t nominal = std::max(arguments.batch, arguments.nbs);
  const int64_t steps = (samples + nominal - 1) / nominal * arguments.epochs;
  if (fine_tuning && steps < kFineTuningSteps) {
    arguments.optimizer = "AdamW";
    // Adam's steps are as long for a small batch as for a large one; so many more of them are shorter by as much.
    const double share = static_cast<double>(arguments.batch) / static_cast<double>(nominal);
    arguments.lr0 = 0.002 * 5 / (4 + static_cast<double>(nc)) * share;
    arguments.momentum = 0.9;
    arguments.warmup_bias_lr = 0;
  } else {
    arguments.optimizer = "SGD";
  }
  return arguments;
}

double scaled_weight_decay(const TrainArguments& arguments) {
  return arguments.weight_decay * static_cast<double>(arguments.batch) / static_cast<double>(arguments.nbs);
}

std::unique_ptr<Optimizer> make_optimizer(const TrainArguments& resolved, const torch::nn::Module& model) {
  const double decay = scaled_weight_decay(resolved);
  if (resolved.optimizer == "AdamW") return make_adamw(group_parameters(model), decay);
  if (resolved.optimizer == "Adam") return make_adam(group_parameters(model), decay);
  return make_sgd(group_parameters(model), decay);
}

double clip_gradients(const std::vector<at::Tensor>& parameters, double max_norm, double loss_scale) {
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = gradients_of(parameters);
  const double norm = at::stack(at::_foreach_norm(gradients, 2)).norm().item<double>() / loss_scale;
  if (!std::isfinite(norm)) return norm;
  const double share = max_norm > 0 && norm > max_norm ? max_norm / (norm + 1e-6) : 1;
  if (share / loss_scale != 1) at::_foreach_mul_(gradients, share / loss_scale);
  return norm;
}

}  // namespace tenfold
