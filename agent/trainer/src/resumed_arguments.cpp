#include "resumed_arguments.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <variant>

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
  std::string path = "/" + field_of(name).value_or(name);
  std::ranges::replace(path, '.', '/');
  return config.contains(Json::json_pointer(path));
}

/// A file is found from other folders, too; a name of the catalog stays one.
std::string lasting(const std::string& arch) {
  return std::filesystem::is_regular_file(arch) ? std::filesystem::absolute(arch).string() : arch;
}

}  // namespace

std::vector<Setting> arguments_to_resume(const Config& config, const TrainArguments& resolved) {
  std::vector<Setting> arguments = argument_settings(resolved);
  if (const auto* yaml = std::get_if<YamlData>(&config.data)) {
    arguments.push_back({"data", std::filesystem::absolute(yaml->path).string()});
    arguments.push_back({"model", lasting(config.arch)});
    if (config.nc) arguments.push_back({"nc", std::to_string(*config.nc)});
  }
  return arguments;
}

void take_over_arguments(Json& config) {
  static const std::set<std::string> of_the_machine = {"device", "workers"};
  const std::string checkpoint = resumed_from(config);
  if (checkpoint.empty()) return;
  std::vector<Setting> arguments = checkpoint_arguments(checkpoint), settings;
  if (arguments.empty() && !config.contains("data")) read_checkpoint(checkpoint);  // says what is wrong with it
  for (Setting& argument : arguments)
    if (!of_the_machine.contains(argument.key) && !is_given(config, argument.key)) settings.push_back(std::move(argument));
  put_settings(config, settings);
  spell_out(config);
}

}  // namespace tenfold
