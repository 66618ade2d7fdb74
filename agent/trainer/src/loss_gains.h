#pragma once

#include "head_layout.h"
#include "loss.h"
#include "train_arguments.h"

namespace tenfold {

/// The gains of a training: what the user set, and for the rest what the family has. v8 and v10: box 7.5, cls 0.5,
/// dfl 1.5. v5: box 0.05, cls 0.5, obj 1, which hold for 80 classes, pictures of 640 pixels and three scales, and are
/// scaled from there, whoever set them. Throws TrainerError(bad_config) for a gain that the family has no use for.
LossGains gains_of(const TrainArguments& args, const HeadLayout& layout);

}  // namespace tenfold
