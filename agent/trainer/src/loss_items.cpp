#include "loss_items.h"

#include <stdexcept>

namespace tenfold {

const std::vector<std::string>& loss_item_names(Family family) {
  static const std::vector<std::string> v5 = {"box", "obj", "cls"};
  static const std::vector<std::string> v8 = {"box", "cls", "dfl"};
  static const std::vector<std::string> v10 = {"box_om", "cls_om", "dfl_om", "box_oo", "cls_oo", "dfl_oo"};
  switch (family) {
    case Family::v5:
      return v5;
    case Family::v8:
      return v8;
    case Family::v10:
      return v10;
  }
  throw std::logic_error("a family without loss items");
}

LossItems name_loss_items(Family family, const std::vector<double>& values) {
  const auto& names = loss_item_names(family);
  LossItems items;
  for (size_t i = 0; i < names.size(); ++i) items.push_back({names[i], values.at(i)});
  return items;
}

void add_loss_items(LossItems& sums, const LossItems& more) {
  if (sums.empty()) {
    sums = more;
    return;
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    if (sums[i].name != more.at(i).name) throw std::logic_error("loss items of different families: " + sums[i].name);
    sums[i].value += more[i].value;
  }
}

}  // namespace tenfold
