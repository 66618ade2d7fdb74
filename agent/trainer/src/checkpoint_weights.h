// The weights in a checkpoint of the published YOLO trainers, by name, and what it says about them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "safetensors.h"
#include "torch_checkpoint.h"

namespace tenfold {

struct CheckpointWeights {
  NamedTensors tensors;            ///< half precision widened to float; names as `model.0.conv.weight`
  std::string found_in;            ///< "ema (models.yolo.DetectionModel)", for people
  std::vector<std::string> names;  ///< of the classes, where the checkpoint names them
  std::optional<int> nc;
  std::optional<int> stride;       ///< the largest
  std::optional<int> imgsz;        ///< that it was trained at
};

/// Looks for weights where the published trainers put them: a whole module or a state dict, itself or under "ema" (the
/// average, which is what detects best), "model", "state_dict" or "model_state_dict".
/// Throws CheckpointError where there are none.
CheckpointWeights weights_in(TorchCheckpoint& checkpoint);

}  // namespace tenfold
