#include "config.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "config_reader.h"
#include "exit_code.h"

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
  ObjectReader every = checkpoint.object("every");
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

Config read_config(const nlohmann::json& json, Problems& problems) {
  Config config;
  ObjectReader top(&json, "", problems);
  int64_t contract = kContractVersion;
  top.integer("contract", contract, kContractVersion, kContractVersion);

  ObjectReader run = top.object("run");
  run.text("name", config.run_name);
  std::string dir = "tenfold-run/" + config.run_name;
  run.text("dir", dir);
  run.finish();
  config.run_dir = dir;

  if (!top.has("data")) {
    top.problem("data", "is required: {\"kind\": \"yaml\", \"path\": \"data.yaml\"} or shards");
    top.object("data");
  } else {
    config.data = read_data(top.object("data"));
  }
  read_model(top.object("model"), config);
  read_arguments(top.object("train"), config.train);
  config.checkpoint = read_checkpoint(top.object("checkpoint"), config.run_dir);

  const bool resumes = top.has("resume");
  ObjectReader resume = top.object("resume");
  if (resumes) {
    std::string from;
    resume.required_text("dir", from);
    config.resume_dir = from;
  }
  resume.finish();
  config.collective = read_collective(top.object("collective"));
  ObjectReader progress = top.object("progress");
  progress.integer("interval_ms", config.progress_interval_ms, 0, 3'600'000);
  progress.finish();
  top.finish();
  return config;
}

}  // namespace

Config parse_config(std::string_view text, const std::string& source) {
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw TrainerError(ExitCode::bad_config, source + ": not JSON: " + error.what());
  }
  Problems problems;
  Config config = read_config(json, problems);
  if (problems.empty()) return config;
  std::string message = source + ": " + std::to_string(problems.size()) +
                        (problems.size() == 1 ? " problem" : " problems");
  for (const std::string& problem : problems) message += "\n  " + problem;
  throw TrainerError(ExitCode::bad_config, message);
}

Config load_config(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw TrainerError(ExitCode::bad_config, file.string() + ": " + std::strerror(errno));
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return parse_config(text, file.string());
}

}  // namespace tenfold
