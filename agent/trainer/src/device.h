#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <string>

namespace tenfold {

/// Where and in which precision a rank computes.
struct ComputeDevice {
  at::Device device = at::kCPU;
  std::string name = "cpu";  // "cpu" or "cuda:0"
  /// Type that convolutions compute in under autocast; kFloat: no autocast.
  at::ScalarType autocast = at::kFloat;
  /// Memory layout of pictures and convolution weights.
  at::MemoryFormat memory_format = at::MemoryFormat::Contiguous;
};

/// Chooses the device of `wanted` (auto, cpu, cuda, cuda:N) for a rank of its host, and sets what goes with it: `amp` is
/// auto, off, bf16 or fp16. Throws TrainerError(device_error) when CUDA is wanted and no GPU can be used, or when `auto` meets
/// a driver that fails; TrainerError(bad_config) when that number of GPU is not there.
ComputeDevice choose_device(const std::string& wanted, const std::string& amp, int local_rank);

/// Sets the number of threads that tensor operations use, keeps freed memory, and switches off what would flood stderr.
/// Call it first.
void set_up_cpu(int threads);

/// Autocast for as long as it lives; does nothing where the device does not autocast.
class AutocastScope {
 public:
  explicit AutocastScope(const ComputeDevice& device);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  bool active_ = false;
  at::DeviceType type_ = at::kCPU;
  at::ScalarType previous_type_ = at::kFloat;
  bool previous_enabled_ = false;
};

/// A copy whose strides are exactly those of the layout. `contiguous` leaves them as they are where sizes of 1 leave them
/// open (1 x 1 kernels); gradients come in other strides then, and c10d's Reducer has to copy them.
at::Tensor laid_out(const at::Tensor& tensor, at::MemoryFormat format);

/// Moves a network's parameters and buffers to the device, in the device's layout.
void place(torch::nn::Module& network, const ComputeDevice& device);

/// uint8 (B, 3, H, W) pictures as the network takes them: on the device, float in 0..1.
at::Tensor network_input(const at::Tensor& images, const ComputeDevice& device);

}  // namespace tenfold
