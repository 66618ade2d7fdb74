#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>

#include <unistd.h>

#include "collective_backend.h"
#include "stall_watch.h"

namespace tenfold {
namespace {

/// Cloned hosts may have one name, but each has started by itself.
std::string name_of_host() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  std::string start;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), start);
  return std::string(host.data()) + " " + start;
}

/// The same for two processes, whatever each calls the GPU, when it is the same one.
std::string name_of_gpu(const at::Device& device) {
  std::array<char, 32> address{};
  C10_CUDA_CHECK(cudaDeviceGetPCIBusId(address.data(), static_cast<int>(address.size()), device.index()));
  return name_of_host() + " " + address.data();
}

}  // namespace

std::string own_gpu(const at::Device& device) { return device.is_cuda() ? name_of_gpu(device) : "none"; }

void add_nccl(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous) {
  const c10::cuda::CUDAGuard device(rendezvous.device);
  // Else LibTorch's own watchdog aborts the process when a peer is lost: without a word of why, and amid a checkpoint.
  ::setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", /*overwrite=*/0);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = rendezvous.timeout + StallWatch::backend_slack();
  const auto store = c10::make_intrusive<c10d::PrefixStore>("nccl", meeting.store);
  const auto nccl =
      c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rendezvous.rank, rendezvous.world_size, options);
  group.setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::NCCL, nccl);
  group.setDefaultBackend(c10d::ProcessGroup::NCCL);
}

}  // namespace tenfold
