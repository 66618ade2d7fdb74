#include "gpu.h"

namespace tenfold {

Gpus find_gpus() {
  return {{}, "this trainer was built against a LibTorch without CUDA; deploy/setup on a host with a GPU builds one with it"};
}

}  // namespace tenfold
