#pragma once

#include <nlohmann/json_fwd.hpp>

namespace tenfold {

/// Where a config goes on with a checkpoint: puts that training's arguments in for all that the config does not name, but for
/// those that are the machine's (device, workers). A checkpoint that cannot be read is for others to judge.
void take_over_arguments(nlohmann::json& config);

}  // namespace tenfold
