#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <array>
#include <set>
#include <string>

#include <unistd.h>

#include "collective_backend.h"
#include "stall_watch.h"

namespace tenfold {
namespace {

/// The same for two processes, whatever each calls the GPU, when it is the same one.
std::string name_of_gpu(const at::Device& device) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  std::array<char, 32> address{};
  C10_CUDA_CHECK(cudaDeviceGetPCIBusId(address.data(), static_cast<int>(address.size()), device.index()));
  return std::string(host.data()) + " " + address.data();
}

std::string key_of(int rank) { return "gpu/" + std::to_string(rank); }

}  // namespace

bool has_nccl() { return true; }

bool ranks_share_a_gpu(const MeetingPoint& meeting, const Rendezvous& rendezvous) {
  meeting.store->set(key_of(rendezvous.rank), name_of_gpu(rendezvous.device));
  std::set<std::string> gpus;
  for (int rank = 0; rank < rendezvous.world_size; ++rank) gpus.insert(meeting.store->get_to_str(key_of(rank)));
  return gpus.size() < static_cast<size_t>(rendezvous.world_size);
}

void add_nccl(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous) {
  const c10::cuda::CUDAGuard device(rendezvous.device);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = rendezvous.timeout + StallWatch::backend_slack();
  const auto store = c10::make_intrusive<c10d::PrefixStore>("nccl", meeting.store);
  const auto nccl =
      c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rendezvous.rank, rendezvous.world_size, options);
  group.setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::NCCL, nccl);
  group.setDefaultBackend(c10d::ProcessGroup::NCCL);
}

}  // namespace tenfold
