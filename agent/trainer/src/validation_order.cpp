#include "validation_order.h"

#include <algorithm>
#include <numeric>

namespace tenfold {

std::vector<int64_t> by_shape(const Dataset& data) {
  std::vector<double> shapes;
  for (int64_t id = 0; id < data.size(); ++id) shapes.push_back(data.shape(id));
  std::vector<int64_t> order(shapes.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](int64_t id) { return shapes[static_cast<size_t>(id)]; });
  return order;
}

std::vector<std::vector<int64_t>> batches_of(const std::vector<int64_t>& order, int64_t batch) {
  std::vector<std::vector<int64_t>> batches;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i % static_cast<size_t>(batch) == 0) batches.emplace_back();
    batches.back().push_back(order[i]);
  }
  return batches;
}

}  // namespace tenfold
