#include "device_memory.h"

#include <ATen/DeviceAccelerator.h>

#include <algorithm>
#include <climits>  // any header of the C library defines __GLIBC__
#include <fstream>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "failure.h"
#include "host_memory.h"

namespace tenfold {
namespace {

/// Gives freed memory back to the system and forgets how much the process has ever had.
void reset_host_peak() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
  std::ofstream("/proc/self/clear_refs") << "5";
}

int64_t host_bytes(const char* key) { return number_in_line("/proc/self/status", key).value_or(0) * 1024; }

int64_t host_peak_of(const std::function<void()>& work) {
  reset_host_peak();
  const int64_t before = host_bytes("VmRSS:");
  work();
  const int64_t peak = host_bytes("VmHWM:");
  reset_host_peak();
  return std::max<int64_t>(peak - before, 0);
}

constexpr size_t kAllPools = 0;  // of a StatArray: the sum of its kinds

int64_t accelerator_peak_of(const at::Device& device, const std::function<void()>& work) {
  at::accelerator::emptyCache();
  at::accelerator::resetPeakStats(device.index());
  const int64_t before = at::accelerator::getDeviceStats(device.index()).reserved_bytes[kAllPools].current;
  work();
  at::accelerator::synchronizeDevice(device.index());
  return at::accelerator::getDeviceStats(device.index()).reserved_bytes[kAllPools].peak - before;
}

}  // namespace

int64_t available_bytes(const at::Device& device) {
  if (device.is_cpu()) return available_host_bytes();
  at::accelerator::emptyCache();
  return static_cast<int64_t>(at::accelerator::getMemoryInfo(device.index()).first);
}

std::optional<int64_t> peak_bytes_of(const at::Device& device, const std::function<void()>& work) {
  try {
    return device.is_cpu() ? host_peak_of(work) : accelerator_peak_of(device, work);
  } catch (...) {
    // Memory runs out in many ways: a library's workspace, a kernel's code, the host's own.
    if (failure_of(std::current_exception()).code != ExitCode::out_of_memory) throw;
    return std::nullopt;
  }
}

}  // namespace tenfold
