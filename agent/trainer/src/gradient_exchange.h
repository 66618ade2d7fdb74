#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <memory>
#include <string>
#include <vector>

#include "collective.h"
#include "stall_watch.h"

namespace tenfold {

struct ExchangeOptions {
  GradientCompression compression = GradientCompression::none;
  bool one_host = false;  // all ranks are on it: two ranks' gradients on the CPU can go through memory that they share
};

/// Averages gradients in buckets by c10d's Reducer: a bucket travels as soon as it is full, while the backward pass still
/// computes others. `watch` must outlive it.
std::unique_ptr<GradientExchange> bucketed_exchange(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch,
                                                    std::vector<at::Tensor> parameters,
                                                    const std::vector<std::string>& names,
                                                    const ExchangeOptions& options);

}  // namespace tenfold
