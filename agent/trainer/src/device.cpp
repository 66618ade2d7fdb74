#include "device.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "allocator.h"
#include "exit_code.h"
#include "gpu.h"

namespace tenfold {
namespace {

bool cpu_has_bfloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

/// Convolutions in it want a GPU of compute capability 8.0 or more.
bool gpu_has_bfloat16() { return at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8(); }

/// With instructions for it bfloat16 makes a CPU's step 1.3 to 1.6 times as fast; without, it is emulated and slow.
at::ScalarType autocast_type(const std::string& amp, bool on_gpu) {
  if (amp == "bf16") return at::kBFloat16;
  if (amp == "fp16") return at::kHalf;
  if (amp == "off") return at::kFloat;
  if (on_gpu) return gpu_has_bfloat16() ? at::kBFloat16 : at::kHalf;
  return cpu_has_bfloat16() ? at::kBFloat16 : at::kFloat;
}

/// A run that is resumed has the losses of one that went through, to the bit; some of cuDNN's algorithms add up in
/// whatever order their threads come.
void set_up_gpu(const at::Device& device) {
  at::globalContext().setDeterministicCuDNN(true);
  c10::impl::VirtualGuardImpl(at::kCUDA).setDevice(device);
}

/// The number of GPUs to choose from; none where none is wanted. Throws when what is wanted is not there.
int usable_gpus(const std::string& wanted) {
  if (wanted == "cpu") return 0;
  const Gpus gpus = find_gpus();
  if (gpus.found.empty() && (gpus.driver_fails || wanted.starts_with("cuda"))) {
    throw TrainerError(ExitCode::device_error, "no GPU can be used: " + gpus.why_none + ". `device: cpu` trains without");
  }
  return static_cast<int>(gpus.found.size());
}

}  // namespace

ComputeDevice choose_device(const std::string& wanted, const std::string& amp, int local_rank) {
  ComputeDevice chosen;
  // Channels last saves 7 to 20 % of a step on CPUs (YOLOv8n, 160 and 320 pixels), and is what tensor cores want.
  chosen.memory_format = at::MemoryFormat::ChannelsLast;
  const int gpus = usable_gpus(wanted);
  // An agent shows each rank the GPUs of its job alone, in the order of local ranks; torchrun shows all to all.
  const int number = wanted.starts_with("cuda:") ? std::stoi(wanted.substr(5)) : local_rank % std::max(gpus, 1);
  if (gpus > 0) {
    if (number >= gpus) {
      throw TrainerError(ExitCode::bad_config, "train.device: " + wanted + " is wanted, but the last of " + std::to_string(gpus) +
                                                   " visible GPUs is cuda:" + std::to_string(gpus - 1));
    }
    chosen.device = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(number));
    chosen.name = chosen.device.str();
    set_up_gpu(chosen.device);
  }
  chosen.autocast = autocast_type(amp, gpus > 0);
  return chosen;
}

void set_up_cpu(int threads) {
  keep_freed_memory();
  at::set_num_threads(threads);
  at::globalContext().setUserEnabledNNPACK(false);
}

AutocastScope::AutocastScope(const ComputeDevice& device) {
  if (device.autocast == at::kFloat) return;
  active_ = true;
  type_ = device.device.type();
  previous_enabled_ = at::autocast::is_autocast_enabled(type_);
  previous_type_ = at::autocast::get_autocast_dtype(type_);
  at::autocast::set_autocast_enabled(type_, true);
  at::autocast::set_autocast_dtype(type_, device.autocast);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(type_, previous_enabled_);
  at::autocast::set_autocast_dtype(type_, previous_type_);
}

at::Tensor laid_out(const at::Tensor& tensor, at::MemoryFormat format) {
  return at::empty(tensor.sizes(), tensor.options().memory_format(format)).copy_(tensor);
}

void place(torch::nn::Module& network, const ComputeDevice& device) {
  network.to(device.device);
  const auto lay_out = [&](at::Tensor tensor) {
    if (tensor.dim() == 4) tensor.set_data(laid_out(tensor.detach(), device.memory_format));
  };
  for (const at::Tensor& parameter : network.parameters()) lay_out(parameter);
  for (const at::Tensor& buffer : network.buffers()) lay_out(buffer);
}

at::Tensor network_input(const at::Tensor& images, const ComputeDevice& device) {
  const at::Tensor moved = images.to(device.device, /*non_blocking=*/true);
  return moved.to(at::TensorOptions().dtype(at::kFloat), /*non_blocking=*/false, /*copy=*/false, device.memory_format)
      .div_(255);
}

}  // namespace tenfold
