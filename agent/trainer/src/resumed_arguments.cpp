#include "resumed_arguments.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "checkpoint.h"
#include "config_settings.h"

namespace tenfold {
namespace {

using Json = nlohmann::json;

std::string resumed_from(const Json& config) {
  const Json::json_pointer dir("/resume/dir");
  return config.contains(dir) && config[dir].is_string() ? config[dir].get<std::string>() : "";
}

bool is_given(const Json& config, const std::string& name) {
  const auto train = config.find("train");
  return train != config.end() && train->is_object() && train->contains(name);
}

}  // namespace

void take_over_arguments(Json& config) {
  static const std::set<std::string> of_the_machine = {"device", "workers"};
  const std::string checkpoint = resumed_from(config);
  if (checkpoint.empty()) return;
  std::vector<Setting> settings;
  for (Setting& argument : checkpoint_arguments(checkpoint))
    if (!of_the_machine.contains(argument.key) && !is_given(config, argument.key)) settings.push_back(std::move(argument));
  put_settings(config, settings);
}

}  // namespace tenfold
