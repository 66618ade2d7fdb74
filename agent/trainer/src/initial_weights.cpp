#include "initial_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>

#include "exit_code.h"
#include "safetensors.h"
#include "weights_file.h"

namespace tenfold {
namespace {

SafeTensors read_given_weights(const std::filesystem::path& file) {
  try {
    return read_weights(file);
  } catch (const std::exception& error) {
    throw TrainerError(ExitCode::bad_config, "model.weights: " + std::string(error.what()));
  }
}

/// Whether a tensor is what a convolution has learnt. By these alone is judged whether weights fit a model: counters, the
/// DFL's bins, and the biases of the last layers have the same shapes in networks that share nothing else, and a norm is
/// of no use without the convolution before it.
bool is_kernel(const std::string& name, const at::Tensor& tensor) {
  return tensor.dim() == 4 && !name.ends_with(".dfl.conv.weight");
}

std::string origin_of(const std::filesystem::path& file, const SafeTensors& given) {
  const auto arch = given.metadata.find("arch");
  return "model.weights: " + file.string() +
         (arch == given.metadata.end() ? "" : " (weights of " + arch->second + ")");
}

}  // namespace

Transfer transfer_weights(Detector& model, const std::filesystem::path& file) {
  const at::NoGradGuard no_grad;
  const SafeTensors given = read_given_weights(file);
  const std::map<std::string, at::Tensor> by_name(given.tensors.begin(), given.tensors.end());
  Transfer transfer;
  int64_t kernels = 0, fitting = 0;
  for (const auto& [name, tensor] : named_state(model)) {
    const bool kernel = is_kernel(name, tensor);
    kernels += kernel;
    const auto found = by_name.find(name);
    if (found == by_name.end() || found->second.sizes() != tensor.sizes()) continue;
    tensor.copy_(found->second);
    fitting += kernel;
    ++transfer.tensors;
  }
  const std::string of_all = std::to_string(kernels) + " convolutions of " + model.spec().name;
  if (fitting == 0) throw TrainerError(ExitCode::bad_config, origin_of(file, given) + " fits none of the " + of_all);
  if (2 * fitting < kernels)
    transfer.poor_fit = origin_of(file, given) + " fits only " + std::to_string(fitting) + " of the " + of_all +
                        "; the others start untrained";
  return transfer;
}

}  // namespace tenfold
