// What the benchmarks of the network share.
#pragma once

#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace tenfold::bench {

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// A GPU computes on while its caller's clock is read: waits until it is done.
inline void finish_on(const at::Device& device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

/// A main function: what goes wrong is told on stderr, and the exit status is 2.
inline int main_of(const std::vector<std::string>& words, const std::function<int(const std::vector<std::string>&)>& run) {
  try {
    return run(words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

}  // namespace tenfold::bench
