#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "image.h"
#include "loader.h"

namespace tenfold {

/// A planar picture (3, H, W), uint8 RGB on the CPU, as an Image.
Image image_from_tensor(const at::Tensor& planar);

/// The first `max_images` pictures of a batch in a grid, with their target boxes (train_batch0.jpg and the like).
Image batch_picture(const Batch& batch, const std::vector<std::string>& names, int max_images = 16);

}  // namespace tenfold
