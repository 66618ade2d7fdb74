#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenfold {

struct Gpu {
  std::string name;  // "cuda:0"
  std::string model;
  int64_t memory_bytes = 0;
};

/// What this process can compute on besides the CPU. CUDA_VISIBLE_DEVICES has its say.
struct Gpus {
  std::vector<Gpu> found;
  std::string why_none;  // where none is found
  /// There is a driver, and it fails: this is no host without GPUs, and its CPU was not what anybody asked for.
  bool driver_fails = false;
};

/// Looks without taking memory of any.
Gpus find_gpus();

}  // namespace tenfold
