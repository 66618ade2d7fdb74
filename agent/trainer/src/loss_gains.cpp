#include "loss_gains.h"

#include <string>

#include "exit_code.h"

namespace tenfold {
namespace {

void refuse(bool given, const std::string& name, const std::string& why, Family family) {
  if (given)
    throw TrainerError(ExitCode::bad_config, "train." + name + ": " + why + ", and the model is of family " +
                                                 std::string(to_string(family)) + "; leave it out");
}

LossGains anchor_gains(const TrainArguments& args, const HeadLayout& layout) {
  const double scales = 3.0 / static_cast<double>(layout.strides.size());
  const double side = static_cast<double>(args.imgsz) / 640;
  return {.box = args.box.value_or(0.05) * scales,
          .cls = args.cls.value_or(0.5) * scales * layout.nc / 80,
          .obj = args.obj.value_or(1.0) * scales * side * side,
          .label_smoothing = args.label_smoothing};
}

}  // namespace

LossGains gains_of(const TrainArguments& args, const HeadLayout& layout) {
  if (layout.family == Family::v5) {
    refuse(args.dfl.has_value(), "dfl", "only YOLOv8's and YOLOv10's losses have such an item", layout.family);
    return anchor_gains(args, layout);
  }
  refuse(args.obj.has_value(), "obj", "only YOLOv5's loss has such an item", layout.family);
  refuse(args.label_smoothing != 0, "label_smoothing", "only YOLOv5's loss smooths labels", layout.family);
  return {.box = args.box.value_or(7.5), .cls = args.cls.value_or(0.5), .dfl = args.dfl.value_or(1.5)};
}

}  // namespace tenfold
