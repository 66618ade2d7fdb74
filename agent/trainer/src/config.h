#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "setting.h"
#include "train_arguments.h"

namespace tenfold {

/// Version of the contract between agent and trainer that this trainer speaks.
inline constexpr int kContractVersion = 1;

struct ShardData {
  std::filesystem::path index;
  std::filesystem::path dir;
};
struct YamlData {
  std::filesystem::path path;
};
using DataSource = std::variant<ShardData, YamlData>;

struct CheckpointPolicy {
  std::optional<int64_t> every_epochs;
  std::optional<int64_t> every_steps;
  std::filesystem::path dir;
};

struct CollectiveConfig {
  std::string backend = "auto";  // auto, gloo, nccl
  double timeout_s = 120;
  int64_t generation = 0;
};

/// What `tenfold-trainer train` is asked to do. Complete: every default is filled in.
struct Config {
  std::string run_name = "train";
  std::filesystem::path run_dir;
  bool chose_run_dir = false;  // since none was named
  DataSource data;
  std::string arch = "yolov8n";
  std::optional<std::filesystem::path> weights;
  std::optional<int64_t> nc;  // nullopt: as the data set
  TrainArguments train;
  CheckpointPolicy checkpoint;
  std::optional<std::filesystem::path> resume_dir;
  CollectiveConfig collective;
  int64_t progress_interval_ms = 250;
};

/// Parses the text of a config file. Throws TrainerError(bad_config) with every problem and its path.
Config parse_config(std::string_view json, const std::string& source);

/// Reads a config file, where there is one, puts the words of a command line over it, and parses the whole. Throws
/// TrainerError: bad_config as above, usage for words that mean nothing.
Config load_config(const std::optional<std::filesystem::path>& file, const std::vector<Setting>& settings = {});

/// The folder of a run of that name which names none: the first below tenfold-run that is not there yet.
std::filesystem::path free_run_dir(const std::string& name);

}  // namespace tenfold
