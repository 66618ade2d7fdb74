#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "collective.h"
#include "rendezvous_store.h"

namespace tenfold {

/// Whether this build can exchange CUDA tensors by NCCL.
bool has_nccl();

/// Adds Gloo to the group, for CPU tensors. Returns when all ranks are connected.
void add_gloo(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous);

/// Adds NCCL to the group, for CUDA tensors. Throws TrainerError(bad_config) in a build without it.
void add_nccl(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous);

}  // namespace tenfold
