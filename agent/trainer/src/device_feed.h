#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <optional>

#include "loader.h"

namespace tenfold {

/// Hands out a loader's batches with their images and targets on the device. On a GPU the next batch is copied, on a
/// stream of its own, while the current one is computed with; on a CPU batches pass through.
class DeviceFeed {
 public:
  DeviceFeed(Loader& loader, const at::Device& device);

  /// The next batch; its copy is over before anything that the caller's stream is given from now on. nullopt after the
  /// last.
  std::optional<Batch> next();

 private:
  struct Copy {
    Batch batch;
    c10::Event done;
  };

  std::optional<Copy> begin_copy();

  Loader& loader_;
  at::Device device_;
  std::optional<c10::Stream> stream_;  // none on a CPU
  std::optional<Copy> ahead_;
};

/// The batch with its tensors where people's pictures are drawn: on the CPU.
Batch on_host(Batch batch);

}  // namespace tenfold
