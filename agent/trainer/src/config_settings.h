#pragma once

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

#include "setting.h"

namespace tenfold {

/// Puts the `key=value` words of a command line into a config, over what it says. A key is a short name (data, model,
/// weights, nc, name, project, dir, resume), a training argument, or the path of any field, such as
/// checkpoint.every.steps. Values are read as JSON (numbers, true and false, null, lists) or as Python writes them
/// (True, None, [0,model.22]); all else is a text. What a field may hold is for the config's parser to judge. Throws
/// TrainerError(usage) with every key that means nothing or comes twice.
void put_settings(nlohmann::json& config, const std::vector<Setting>& settings);

/// The field that a word's key stands for, as a path with dots; nothing where there is none. Dotted paths are judged with
/// the whole config.
std::optional<std::string> field_of(const std::string& key);

/// Spells out a config's short forms: a text as `data` is the path of a data.yaml, as `model` its arch, as `resume` its
/// dir.
void spell_out(nlohmann::json& config);

}  // namespace tenfold
