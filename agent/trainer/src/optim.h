#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "safetensors.h"
#include "schedule.h"
#include "train_arguments.h"

namespace tenfold {

struct NamedParameters {
  std::vector<std::string> names;
  std::vector<at::Tensor> tensors;
};

/// The trainable parameters by ParameterGroup: biases, weights of convolutions (the only ones that decay), and weights
/// of norms. Frozen parameters are in none.
std::array<NamedParameters, 3> group_parameters(const torch::nn::Module& model);

/// Changes parameters by their gradients; everything that it remembers between steps can be saved.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One step with the gradients that the parameters hold. Every parameter must have one.
  virtual void step(const StepRates& rates) = 0;
  virtual std::string name() const = 0;
  /// The state's own tensors (not copies), called "<parameter>.<what>".
  virtual NamedTensors state() const = 0;

  /// Copies a saved state in. Throws TrainerError(bad_checkpoint) unless names and shapes match.
  void load_state(const NamedTensors& saved);
};

/// SGD with Nesterov's momentum: v = m v + (g + decay p); p -= lr (g + decay p + m v).
std::unique_ptr<Optimizer> make_sgd(std::array<NamedParameters, 3> groups, double weight_decay);

/// Adam (Kingma and Ba, 2015), whose weight decay is part of the gradient; beta1 is the step's momentum, beta2 0.999.
std::unique_ptr<Optimizer> make_adam(std::array<NamedParameters, 3> groups, double weight_decay);

/// AdamW: Adam with weight decay apart from the gradient (Loshchilov and Hutter, Decoupled Weight Decay Regularization,
/// 2019).
std::unique_ptr<Optimizer> make_adamw(std::array<NamedParameters, 3> groups, double weight_decay);

/// What `optimizer: auto` stands for, and the arguments that go with it. Fine-tuning from given weights for fewer than
/// 10,000 steps of the nominal batch (nbs): AdamW with lr0 = 0.002 * 5 / (4 + nc) for a step of the nominal batch, momentum
/// 0.9 and no bias warm-up. All else: SGD with the arguments as they are. A named optimizer is left alone.
TrainArguments resolve_optimizer(TrainArguments arguments, bool fine_tuning, int64_t samples, int64_t nc);

/// Weight decay of one step. Losses are sums over the batch, so gradients grow with it; decay grows alike, and equals
/// the argument at the nominal batch size `nbs`.
double scaled_weight_decay(const TrainArguments& arguments);

std::unique_ptr<Optimizer> make_optimizer(const TrainArguments& resolved, const torch::nn::Module& model);

/// Divides the gradients of `parameters` by `loss_scale`, which the loss was multiplied by, and scales them so that their
/// common L2 norm is at most `max_norm` (0: no limit). Returns the norm before the latter; one that is not finite leaves
/// the gradients as they are.
double clip_gradients(const std::vector<at::Tensor>& parameters, double max_norm, double loss_scale = 1);

}  // namespace tenfold
