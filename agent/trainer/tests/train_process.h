#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data_fixtures.h"
#include "exit_code.h"
#include "free_port.h"
#include "trainer_process.h"

namespace tenfold::testing {

using Json = nlohmann::json;

/// 11 training and 3 validation pictures, so that with batches of 4 the last of an epoch is smaller, and on three ranks
/// the last validation batch leaves two of them without a picture.
inline constexpr int kTrainPictures = 11;

/// A small data set, and real trainer processes on it.
class TrainProcess : public ::testing::Test {
 protected:
  TrainProcess() {
    write_shards(folder_ / "data", {"red", "green", "blue"},
                          {{"train", {scenes("train", kTrainPictures)}}, {"val", {scenes("val", 3)}}});
  }

  static std::vector<ShardSample> scenes(const std::string& split, int count) {
    std::vector<ShardSample> samples;
    for (int i = 0; i < count; ++i) {
      const Label label{i % 3, 0.4F + 0.1F * static_cast<float>(i % 3), 0.5F, 0.5F, 0.6F};
      samples.push_back(scene_sample("images/" + split + "/" + std::to_string(i) + ".png", 80, 64, {label}));
    }
    return samples;
  }

  /// A config for run `name` with two epochs of small pictures; `change` may alter it. Returns its file.
  std::string config(const std::string& name, const std::function<void(Json&)>& change = {}) {
    const std::filesystem::path run = folder_ / name;
    Json json = {{"contract", 1},
                 {"run", {{"name", name}, {"dir", run.string()}}},
                 {"data",
                  {{"kind", "shards"},
                   {"index", (folder_ / "data/index.json").string()},
                   {"dir", (folder_ / "data").string()}}},
                 {"model", {{"arch", "yolov8n"}, {"weights", nullptr}, {"nc", "auto"}}},
                 {"train", {{"epochs", 2}, {"batch", 4}, {"imgsz", 64}, {"close_mosaic", 1}, {"workers", 1}}},
                 {"checkpoint", {{"every", {{"epochs", 1}}}, {"dir", (run / "checkpoints").string()}}},
                 {"resume", nullptr},
                 {"collective", {{"backend", "auto"}, {"timeout_s", 60}, {"generation", 7}}},
                 {"progress", {{"interval_ms", 0}}}};
    if (change) change(json);
    const std::filesystem::path file = folder_ / (name + ".json");
    write_file(file, json.dump());
    return file.string();
  }

  /// Starts all ranks of a world, on this host or as if each were on one of its own.
  std::vector<std::unique_ptr<TrainerProcess>> start(const std::string& config_file, int world_size, bool one_host = true) {
    const int port = free_port();
    std::vector<std::unique_ptr<TrainerProcess>> ranks;
    for (int rank = 0; rank < world_size; ++rank) {
      ranks.push_back(std::make_unique<TrainerProcess>(std::vector<std::string>{"train", config_file},
                                                       rank_environment(rank, world_size, port, one_host)));
    }
    return ranks;
  }

  TemporaryFolder folder_;
};

/// What a checkpoint event's checkpoint says of itself.
inline Json checkpoint_state(const Json& checkpoint) {
  std::ifstream in(checkpoint["dir"].get<std::string>() + "/state.json");
  return Json::parse(in);
}

inline int code(ExitCode code) { return static_cast<int>(code); }

/// By step: the loss of every rank's step events, exactly.
inline std::map<int64_t, std::vector<Json>> losses_of(const std::vector<std::unique_ptr<TrainerProcess>>& ranks) {
  std::map<int64_t, std::vector<Json>> losses;
  for (const auto& rank : ranks) {
    for (const Json& event : rank->events("step")) losses[event["step"]].push_back(event["loss"]);
  }
  return losses;
}

}  // namespace tenfold::testing
