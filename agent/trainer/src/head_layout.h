// What a detector's raw output means: the only thing that loss and post-processing need to know of the network.
#pragma once

#include <vector>

#include "model_spec.h"

namespace tenfold {

struct HeadLayout {
  Family family = Family::v8;
  int nc = 0;                ///< number of classes
  std::vector<int> strides;  ///< pixels of the input per cell of each head map, finest first
  int reg_max = 16;          ///< bins of each box side's distribution (DFL)
};

}  // namespace tenfold
