// The parts of a loss, by name: which there are depends on the model's family.
#pragma once

#include <string>
#include <vector>

#include "model_spec.h"

namespace tenfold {

struct LossItem {
  std::string name;
  double value = 0;  ///< with its gain
  bool operator==(const LossItem&) const = default;
};

/// All items of a loss, in the family's order.
using LossItems = std::vector<LossItem>;

/// Names of a family's items, in order. v5: box, obj, cls. v8: box, cls, dfl. v10: those of v8 for the branches that
/// many anchors learn from for each box (_om), then for those that one does (_oo).
const std::vector<std::string>& loss_item_names(Family family);

/// `values` in the order of the names, one each.
LossItems name_loss_items(Family family, const std::vector<double>& values);

/// Adds `more` to `sums`, name by name; empty sums become `more`.
void add_loss_items(LossItems& sums, const LossItems& more);

}  // namespace tenfold
