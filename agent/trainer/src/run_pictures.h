#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "dataset.h"
#include "device.h"
#include "loader.h"
#include "model.h"

namespace tenfold {

/// train_batch0.jpg: pictures as the network sees them in training, with their labels.
void draw_training_batch(const std::filesystem::path& run_dir, const Batch& batch,
                         const std::vector<std::string>& names);

/// val_batch0_labels.jpg and val_batch0_pred.jpg beside each other, and in val_pred/ eight single pictures with what
/// the model finds in them.
void draw_validation(const std::filesystem::path& run_dir, Detector& model, const Dataset& data, int imgsz,
                     const ComputeDevice& device);

}  // namespace tenfold
