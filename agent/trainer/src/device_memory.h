#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace tenfold {

/// Bytes that this process can still take on `device` besides what it has: a GPU's free memory and what the allocator
/// keeps unused, or available_host_bytes().
int64_t available_bytes(const at::Device& device);

/// Runs `work` and tells by how much it raised this process's memory on `device` at its peak; nullopt when the device
/// ran out of memory. On a CPU that is the resident set as the kernel counts it, all threads of the process included.
std::optional<int64_t> peak_bytes_of(const at::Device& device, const std::function<void()>& work);

}  // namespace tenfold
