#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <vector>

#include "collective.h"
#include "rendezvous_store.h"

namespace tenfold {

/// Whether this build can exchange CUDA tensors by NCCL.
bool has_nccl();

/// Whether two of the ranks compute on one GPU, which NCCL refuses; the same on all ranks. All must ask.
bool ranks_share_a_gpu(const MeetingPoint& meeting, const Rendezvous& rendezvous);

/// Adds Gloo to the group, for tensors on `devices`. Returns when all ranks are connected.
void add_gloo(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous,
              const std::vector<c10::DeviceType>& devices);

/// Adds NCCL to the group, for CUDA tensors. Throws TrainerError(bad_config) in a build without it.
void add_nccl(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous);

}  // namespace tenfold
