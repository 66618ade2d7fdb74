#pragma once

#include <filesystem>

#include "dataset.h"
#include "device.h"
#include "model.h"

namespace tenfold {

/// val_batch0_labels.jpg and val_batch0_pred.jpg beside each other, so for three batches, and in val_pred/ eight single
/// pictures with what the model finds in them.
void draw_validation(const std::filesystem::path& run_dir, Detector& model, const Dataset& data, int imgsz,
                     const ComputeDevice& device);

}  // namespace tenfold
