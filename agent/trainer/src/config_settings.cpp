#include "config_settings.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "config.h"
#include "exit_code.h"
#include "suggestion.h"
#include "train_arguments.h"

namespace tenfold {
namespace {

using Json = nlohmann::json;

/// Where the short names of words belong; `project` is a part of run.dir. All arguments of `train` come on top.
const std::map<std::string, std::string>& short_names() {
  static const std::map<std::string, std::string> names = {
      {"data", "data"},     {"model", "model.arch"}, {"arch", "model.arch"}, {"weights", "model.weights"},
      {"nc", "model.nc"},   {"name", "run.name"},    {"dir", "run.dir"},     {"project", "run.dir"},
      {"resume", "resume"}};
  return names;
}

/// Fields that are texts whatever they look like: a run may be called 42.
bool is_text_field(const std::string& path) {
  static const std::set<std::string> fields = {"data",     "data.kind", "data.path",  "data.index",    "data.dir",
                                               "run.name", "run.dir",   "model.arch", "model.weights", "resume",
                                               "resume.dir", "checkpoint.dir"};
  return fields.contains(path);
}

bool is_argument(const std::string& name) {
  const auto names = argument_names();
  return std::ranges::find(names, name) != names.end() ||
         std::ranges::any_of(refused_arguments(), [&](const auto& refused) { return refused.first == name; });
}

std::string unknown_key(const std::string& key) {
  std::vector<std::string> known = argument_names();
  for (const auto& [name, field] : short_names()) known.push_back(name);
  return "there is no argument `" + key + "`" + suggestion(key, known);
}

/// Also .5 and 5., which JSON does not know.
std::optional<double> loose_number(const std::string& text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end || !std::isfinite(number)) return std::nullopt;
  return number;
}

Json value_of_setting(const std::string& text);

/// A list whose texts stand without quotes: what is between the brackets of [0,model.22].
Json bare_list(const std::string& items) {
  Json list = Json::array();
  for (size_t begin = 0; begin <= items.size();) {
    const size_t end = std::min(items.find(',', begin), items.size());
    const std::string item = items.substr(begin, end - begin);
    const size_t first = item.find_first_not_of(' '), last = item.find_last_not_of(' ');
    list.push_back(first == std::string::npos ? Json("") : value_of_setting(item.substr(first, last - first + 1)));
    begin = end + 1;
  }
  return list;
}

Json value_of_setting(const std::string& text) {
  if (text == "True" || text == "False") return text == "True";
  if (text == "None") return nullptr;
  if (const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false); !json.is_discarded()) return json;
  if (const auto number = loose_number(text)) return *number;
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') return bare_list(text.substr(1, text.size() - 2));
  return text;
}

Json text_of_setting(const std::string& text) {
  if (text == "null" || text == "None") return nullptr;
  return text;
}

/// Where something stands in the way that is no object, the parser will say so.
void put_at(Json& config, const std::string& path, Json value) {
  Json* place = &config;
  size_t begin = 0;
  for (size_t dot; (dot = path.find('.', begin)) != std::string::npos; begin = dot + 1) {
    if (!place->is_object()) return;
    place = &(*place)[path.substr(begin, dot - begin)];
    if (place->is_null()) *place = Json::object();
  }
  if (place->is_object()) (*place)[path.substr(begin)] = std::move(value);
}

/// YOLO's `project` is the folder that the run's own lies in.
void put_project(Json& config, const std::string& project) {
  const Json::json_pointer given("/run/name");
  const bool named = config.contains(given) && config[given].is_string();
  const std::string name = named ? config[given].get<std::string>() : Config{}.run_name;
  put_at(config, "run.dir", (std::filesystem::path(project) / name).string());
}

void put_resume(Json& config, const std::string& folder, std::vector<std::string>& problems) {
  if (folder == "true" || folder == "True")
    problems.emplace_back("resume names the checkpoint to go on from: resume=runs/first/checkpoints/step-00000300");
  else
    put_at(config, "resume", folder == "false" || folder == "False" ? Json() : text_of_setting(folder));
}

}  // namespace

std::optional<std::string> field_of(const std::string& key) {
  if (const auto found = short_names().find(key); found != short_names().end()) return found->second;
  if (is_argument(key)) return "train." + key;
  return key.find('.') == std::string::npos ? std::nullopt : std::optional(key);
}

void put_settings(Json& config, const std::vector<Setting>& settings) {
  std::vector<std::string> problems;
  std::set<std::string> given;
  std::optional<std::string> project;
  for (const auto& [key, value] : settings) {
    const auto field = field_of(key);
    if (!field) {
      problems.push_back(unknown_key(key));
    } else if (!given.insert(*field).second) {
      problems.push_back(*field + " is given twice, the second time as `" + key + "`");
    } else if (key == "project") {
      project = value;
    } else if (key == "resume") {
      put_resume(config, value, problems);
    } else {
      put_at(config, *field, is_text_field(*field) ? text_of_setting(value) : value_of_setting(value));
    }
  }
  if (project) put_project(config, *project);
  if (problems.empty()) return;
  std::string message;
  for (const std::string& problem : problems) message += (message.empty() ? "" : "\n  ") + problem;
  throw TrainerError(ExitCode::usage, message + "\nTry `tenfold-trainer train --help`.");
}

void spell_out(Json& config) {
  if (!config.is_object()) return;
  const auto spell = [&config](const char* name, const auto& long_form) {
    if (const auto found = config.find(name); found != config.end() && found->is_string())
      *found = long_form(found->template get<std::string>());
  };
  spell("data", [](const std::string& path) { return Json{{"kind", "yaml"}, {"path", path}}; });
  spell("model", [](const std::string& arch) { return Json{{"arch", arch}}; });
  spell("resume", [](const std::string& dir) { return Json{{"dir", dir}}; });
}

}  // namespace tenfold
