#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model.h"

namespace tenfold {

struct Transfer {
  int64_t tensors = 0;   // of the model that were taken from the file
  std::string poor_fit;  // what to tell where fewer than half of the model's convolutions are among them
};

/// Copies every tensor of a weights file (`model.weights`) whose name and shape the model has. Throws
/// TrainerError(bad_config) where the file cannot be read, or fits no convolution of the model.
Transfer transfer_weights(Detector& model, const std::filesystem::path& file);

}  // namespace tenfold
