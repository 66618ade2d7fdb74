#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <string>
#include <vector>

#include "collective.h"
#include "rendezvous_store.h"

namespace tenfold {

/// What tells the GPU that a rank computes on from all others of all hosts; "none" where it is none that NCCL could use.
std::string own_gpu(const at::Device& device);

/// Adds Gloo to the group, for tensors on `devices`. Returns when all ranks are connected.
void add_gloo(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous,
              const std::vector<c10::DeviceType>& devices);

/// Adds NCCL to the group, for CUDA tensors. Throws TrainerError(bad_config) in a build without it.
void add_nccl(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous);

}  // namespace tenfold
