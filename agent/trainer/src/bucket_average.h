#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>

#include <cstdint>
#include <memory>

#include "collective.h"
#include "shared_memory.h"
#include "stall_watch.h"

namespace tenfold {

/// Sends a full bucket of gradients on its way; c10d's Reducer waits for their mean at the end of the backward pass.
class BucketAverage : public c10d::CommHookInterface {
 public:
  virtual void begin_pass() = 0;
  at::Tensor parseHookResult(const c10::IValue& result) override { return c10d::detail::parseCppCommHookResult(result); }
};

/// By the group's own sum. `watch` must outlive it.
std::unique_ptr<BucketAverage> average_by_group(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch,
                                                GradientCompression compression);

/// What average_in_memory needs of each rank for so many gradients of 32 bits.
size_t shared_bytes_for(int64_t gradients);

/// Of two ranks' gradients of 32 bits on the CPU, through memory that they share: the group's connections tell only that
/// both have written, and that one is lost. The bits are those of average_by_group. `watch` must outlive it.
std::unique_ptr<BucketAverage> average_in_memory(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch,
                                                 std::unique_ptr<SharedMemory> memory);

}  // namespace tenfold
