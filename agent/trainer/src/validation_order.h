#pragma once

#include <cstdint>
#include <vector>

#include "dataset.h"

namespace tenfold {

/// The ids of a data set for a validation on rectangles: from wide pictures to tall ones, so that those of a batch have
/// about the same shape; pictures of one shape by id, unreadable ones last.
std::vector<int64_t> by_shape(const Dataset& data);

/// An order cut into batches of `batch`; the last may be smaller.
std::vector<std::vector<int64_t>> batches_of(const std::vector<int64_t>& order, int64_t batch);

}  // namespace tenfold
