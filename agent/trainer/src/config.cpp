#include "config.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "config_reader.h"
#include "config_settings.h"
#include "exit_code.h"
#include "resumed_arguments.h"

namespace tenfold {
namespace {

constexpr int64_t kMany = int64_t{1} << 53;

DataSource read_data(ObjectReader data) {
  std::string kind;
  data.required_text("kind", kind);
  if (kind == "shards") {
    std::string index;
    std::string dir;
    data.required_text("index", index);
    data.required_text("dir", dir);
    data.finish();
    return ShardData{index, dir};
  }
  if (kind == "yaml") {
    std::string path;
    data.required_text("path", path);
    data.finish();
    return YamlData{path};
  }
  if (!kind.empty()) data.problem("kind", "must be \"shards\" or \"yaml\", not \"" + kind + "\"");
  return YamlData{};
}

void read_model(ObjectReader model, Config& config) {
  std::optional<std::string> weights;
  model.text("arch", config.arch);
  model.optional_text("weights", weights);
  model.integer_or_auto("nc", config.nc, 1, 100'000);
  model.finish();
  if (weights) config.weights = *weights;
}

void read_arguments(ObjectReader train, TrainArguments& arguments) {
  visit_arguments(train, arguments);
  for (const auto& [name, advice] : refused_arguments()) train.refuse(name, advice);
  if (arguments.imgsz % 32 != 0) {
    const int64_t nearest = std::max<int64_t>(32, (arguments.imgsz + 16) / 32 * 32);
    train.problem("imgsz", "must be a multiple of 32, the largest stride; " + std::to_string(nearest) + " is near " +
                               std::to_string(arguments.imgsz));
  }
  train.finish();
}

CheckpointPolicy read_checkpoint(ObjectReader checkpoint, const std::filesystem::path& run_dir) {
  CheckpointPolicy policy;
  std::string dir = (run_dir / "checkpoints").string();
  checkpoint.text("dir", dir);
  policy.dir = dir;
  const bool given = checkpoint.has("every");
  ObjectReader every = checkpoint.object("every", R"({"epochs": 1} or {"steps": 500})");
  every.optional_integer("epochs", policy.every_epochs, 1, kMany);
  every.optional_integer("steps", policy.every_steps, 1, kMany);
  every.finish();
  if (!given) policy.every_epochs = 1;
  checkpoint.finish();
  return policy;
}

CollectiveConfig read_collective(ObjectReader collective) {
  CollectiveConfig config;
  collective.choice("backend", config.backend, {"auto", "gloo", "nccl"}, nullptr, nullptr);
  collective.number("timeout_s", config.timeout_s, 0.1, 86'400);
  collective.integer("generation", config.generation, 0, kMany);
  collective.finish();
  return config;
}

/// The run folder that a checkpoint lies in.
std::optional<std::filesystem::path> run_dir_of(const std::filesystem::path& step) {
  const std::filesystem::path checkpoints = (step.has_filename() ? step : step.parent_path()).parent_path();
  if (checkpoints.filename() != "checkpoints") return std::nullopt;
  return checkpoints.parent_path();
}

/// A run that goes on stays in its folder; another has a new one.
void choose_run_dir(Config& config) {
  if (config.resume_dir) {
    if (const auto own = run_dir_of(*config.resume_dir)) {
      config.run_dir = *own;
      return;
    }
  }
  config.run_dir = free_run_dir(config.run_name);
  config.chose_run_dir = true;
}

Config read_config(const nlohmann::json& json, Problems& problems) {
  Config config;
  ObjectReader top(&json, "", problems);
  int64_t contract = kContractVersion;
  top.integer("contract", contract, kContractVersion, kContractVersion);

  ObjectReader run = top.object("run", R"({"dir": "runs/first"})");
  run.text("name", config.run_name);
  std::optional<std::string> dir;
  run.optional_text("dir", dir);
  run.finish();

  if (!top.has("data")) {
    top.problem("data",
                R"(is required: the path of a data.yaml ("data": "data.yaml", or data=data.yaml as a word), or shards)");
    top.object("data");
  } else {
    config.data = read_data(top.object("data", R"({"kind": "yaml", "path": "data.yaml"}, or the path alone)"));
  }
  read_model(top.object("model", R"({"arch": "yolov8n"}, or the name alone)"), config);
  read_arguments(top.object("train", R"({"epochs": 100, "imgsz": 640})"), config.train);
  const bool resumes = top.has("resume");
  ObjectReader resume =
      top.object("resume", R"({"dir": "runs/first/checkpoints/step-00000300"}, or the folder alone)");
  if (resumes) {
    std::string from;
    resume.required_text("dir", from);
    config.resume_dir = from;
  }
  resume.finish();
  if (dir) {
    config.run_dir = *dir;
  } else {
    choose_run_dir(config);
  }
  config.checkpoint =
      read_checkpoint(top.object("checkpoint", R"({"every": {"epochs": 1}})"), config.run_dir);

  config.collective = read_collective(top.object("collective"));
  ObjectReader progress = top.object("progress");
  progress.integer("interval_ms", config.progress_interval_ms, 0, 3'600'000);
  progress.finish();
  top.finish();
  return config;
}

/// Where a text stops being JSON and why: "line 3, column 5: unexpected '}'; expected string literal".
std::string json_defect(std::string_view text, const nlohmann::json::parse_error& error) {
  constexpr std::string_view kGrammar = " - ";  // ends what the library says of itself and of its grammar
  const std::string what = error.what();
  const size_t dash = what.find(kGrammar);
  const size_t at = std::min(std::max<size_t>(error.byte, 1) - 1, text.size());
  const size_t line_begin = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;  // npos + 1 is 0
  const auto line = 1 + std::ranges::count(text.substr(0, at), '\n');
  std::string defect = "line " + std::to_string(line) + ", column " + std::to_string(at - line_begin + 1) + ": " +
                       (dash == std::string::npos ? what : what.substr(dash + kGrammar.size()));
  const size_t before = at == 0 ? std::string_view::npos : text.find_last_not_of(" \t\r\n", at - 1);
  const bool closes = at < text.size() && (text[at] == '}' || text[at] == ']');
  if (closes && before != std::string_view::npos && text[before] == ',')
    defect += "; the comma before it is one too many";
  return defect;
}

nlohmann::json parse_json(std::string_view text, const std::string& source) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    throw TrainerError(ExitCode::bad_config, source + ": not JSON: it is empty");
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    std::string message = source + ": not JSON: " + json_defect(text, error);
    if (source.ends_with(".yaml") || source.ends_with(".yml"))
      message += "\nA data set's yaml is given as data=" + source + ", a model's as model=" + source;
    throw TrainerError(ExitCode::bad_config, message);
  } catch (const nlohmann::json::exception& error) {
    const std::string what = error.what();  // "[json.exception.out_of_range.406] number overflow parsing '1e999'"
    throw TrainerError(ExitCode::bad_config, source + ": " + what.substr(what.find("] ") + 2));
  }
}

Config checked_config(nlohmann::json json, const std::string& source) {
  spell_out(json);
  Problems problems;
  Config config = read_config(json, problems);
  if (problems.empty()) return config;
  std::string message = source + ": " + std::to_string(problems.size()) +
                        (problems.size() == 1 ? " problem" : " problems");
  for (const std::string& problem : problems) message += "\n  " + problem;
  throw TrainerError(ExitCode::bad_config, message);
}

std::string read_config_file(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    throw TrainerError(ExitCode::bad_config, file.string() + ": is a folder, not a config file");
  std::ifstream in(file, std::ios::binary);
  if (!in) throw TrainerError(ExitCode::bad_config, file.string() + ": " + std::strerror(errno));
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

std::filesystem::path free_run_dir(const std::string& name) {
  const std::string first = "tenfold-run/" + name;
  std::filesystem::path dir = first;
  for (int i = 2; std::filesystem::exists(dir); ++i) dir = first + std::to_string(i);
  return dir;
}

Config parse_config(std::string_view text, const std::string& source) {
  return checked_config(parse_json(text, source), source);
}

Config load_config(const std::optional<std::filesystem::path>& file, const std::vector<Setting>& settings) {
  nlohmann::json json = nlohmann::json::object();
  if (file) json = parse_json(read_config_file(*file), file->string());
  spell_out(json);
  put_settings(json, settings);
  spell_out(json);
  take_over_arguments(json);
  std::string source = file ? file->string() : "the command line";
  if (file && !settings.empty()) source += " and the command line";
  return checked_config(std::move(json), source);
}

}  // namespace tenfold
