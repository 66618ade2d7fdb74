// What a detector's raw output means: the only thing that loss and post-processing need to know of the network.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model_spec.h"

namespace tenfold {

struct HeadLayout {
  Family family = Family::v8;
  int nc = 0;                ///< number of classes
  std::vector<int> strides;  ///< pixels of the input per cell of each head map, finest first
  int reg_max = 16;          ///< v8, v10: bins of each box side's distribution (DFL)
  at::Tensor anchors = {};   ///< v5: (scales, anchors a cell, 2) width and height in cells; the network's own buffer
};

}  // namespace tenfold
