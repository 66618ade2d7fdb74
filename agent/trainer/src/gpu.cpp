#include "gpu.h"

#include <cuda_runtime_api.h>

#include <cstdlib>

namespace tenfold {
namespace {

bool has_driver() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess && version > 0;
}

/// The runtime calls a missing driver one that is too old.
Gpus none_because_of(cudaError_t error) {
  if (error == cudaErrorInsufficientDriver && !has_driver()) return {{}, "no NVIDIA driver is installed"};
  const std::string reason = std::string("CUDA says: ") + cudaGetErrorString(error);
  if (error != cudaErrorNoDevice) return {{}, reason, /*driver_fails=*/true};
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return {{}, reason + (visible == nullptr ? "" : std::string(" (CUDA_VISIBLE_DEVICES=") + visible + ")")};
}

}  // namespace

Gpus find_gpus() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();  // what was told is over
  if (error != cudaSuccess) return none_because_of(error);
  Gpus gpus;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    if (const cudaError_t failed = cudaGetDeviceProperties(&properties, i); failed != cudaSuccess) return none_because_of(failed);
    gpus.found.push_back({"cuda:" + std::to_string(i), properties.name, static_cast<int64_t>(properties.totalGlobalMem)});
  }
  if (gpus.found.empty()) return none_because_of(cudaErrorNoDevice);
  return gpus;
}

}  // namespace tenfold
