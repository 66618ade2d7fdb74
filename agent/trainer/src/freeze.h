#pragma once

#include <string>
#include <vector>

#include "model.h"

namespace tenfold {

/// Stops the training of every parameter below one of `prefixes` ("model.0", "model.22.cv3"). Throws
/// TrainerError(bad_config) for a prefix that the model does not have, and when nothing would be left to train.
void freeze(Detector& model, const std::vector<std::string>& prefixes);

/// Training mode for all but the modules below `prefixes`: a batch norm that kept on following the data would change what
/// a frozen layer computes.
void enter_training_mode(Detector& model, const std::vector<std::string>& prefixes);

}  // namespace tenfold
