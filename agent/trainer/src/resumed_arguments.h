#pragma once

#include <nlohmann/json_fwd.hpp>

#include <vector>

#include "config.h"
#include "setting.h"

namespace tenfold {

/// What a checkpoint keeps of how its training was asked for: `resolved` arguments; and of one that no agent began its data
/// set and network, so that it can go on without a word of them.
std::vector<Setting> arguments_to_resume(const Config& config, const TrainArguments& resolved);

/// Where a config goes on with a checkpoint: puts that training's arguments in for all that the config does not name, but for
/// those that are the machine's (device, workers). Throws TrainerError(bad_checkpoint, bad_config) where the data set is to
/// come from a checkpoint that cannot be read; else that is for others to judge.
void take_over_arguments(nlohmann::json& config);

}  // namespace tenfold
