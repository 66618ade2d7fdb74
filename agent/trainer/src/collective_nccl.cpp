#include <c10/cuda/CUDAGuard.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "collective_backend.h"
#include "stall_watch.h"

namespace tenfold {

bool has_nccl() { return true; }

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
