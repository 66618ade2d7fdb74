#include "checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>

#include "data_fixtures.h"
#include "exit_code.h"
#include "setting.h"

namespace tenfold {
namespace {

using testing::TemporaryFolder;
namespace fs = std::filesystem;

Snapshot small_snapshot(int64_t step) {
  Progress progress;
  progress.step = step;
  progress.cursor = {2, 8};
  progress.finished_epochs = 1;
  progress.epoch = {{{"box", 1.5}, {"obj", 2.5}, {"cls", 3.5}}, 4, 8, 0.25};
  progress.best_fitness = 0.1 / 3;
  progress.best_epoch = 1;
  progress.planned_epochs = 7;
  progress.loss_scale = {1024, 12};
  progress.seconds = 12.5;
  progress.history = {{1, 12.5, {{"box", 1}, {"obj", 2}}, MetricSummary{0.1, 0.2, 0.3, 0.4},
                       LossItems{{"box", 3}, {"obj", std::numeric_limits<double>::infinity()}}, {0.1, 0.2, 0.3}}};
  return {.identity = {5, 7, 16, 1200, "SGD"},
          .progress = progress,
          .world_size = 2,
          .device_batch = 6,
          .ema_updates = step,
          .rng = {1, 2, 255},
          .arguments = {{"imgsz", "320"}, {"box", "auto"}},
          .model = {{"w", at::randn({3, 2})}},
          .ema = {{"w", at::randn({3, 2})}},
          .optimizer = {{"w.momentum", at::randn({3, 2})}},
          .best = {},
          .metadata = {{"arch", "yolov8n"}}};
}

std::string refusal(const fs::path& folder) {
  try {
    read_checkpoint(folder);
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
    return error.what();
  }
  return "accepted";
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Checkpoint, ComesBackAsItWas) {
  const TemporaryFolder folder;
  Snapshot saved = small_snapshot(375);
  saved.best = {{"w", at::ones({2})}};
  const CheckpointEvent event = write_checkpoint(folder.path(), saved);
  EXPECT_EQ(event.dir, (folder / "step-00000375").string());
  EXPECT_EQ(event.files.size(), 5U);
  EXPECT_EQ(event.files.back().name, "state.json");
  EXPECT_DOUBLE_EQ(*event.map50, 0.3);
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"step-00000375"}));

  const Snapshot read = read_checkpoint(event.dir);
  EXPECT_EQ(read.identity, saved.identity);
  EXPECT_EQ(read.progress.step, 375);
  EXPECT_EQ(read.progress.cursor, (Cursor{2, 8}));
  EXPECT_EQ(read.progress.finished_epochs, 1);
  EXPECT_EQ(read.progress.planned_epochs, 7);
  EXPECT_EQ(read.progress.loss_scale.value, 1024);
  EXPECT_EQ(read.progress.loss_scale.good_steps, 12);
  EXPECT_EQ(read.progress.epoch.loss, saved.progress.epoch.loss);
  EXPECT_EQ(read.progress.best_fitness, saved.progress.best_fitness);  // to the bit
  ASSERT_EQ(read.progress.history.size(), 1U);
  EXPECT_DOUBLE_EQ(read.progress.history[0].metrics->map50_95, 0.4);
  EXPECT_EQ(read.progress.history[0].val->at(0).value, 3);
  EXPECT_TRUE(std::isnan(read.progress.history[0].val->at(1).value)) << "a loss that overflowed is no reason not to go on";
  const std::vector<Setting> arguments = checkpoint_arguments(folder / "step-00000375");
  ASSERT_EQ(arguments.size(), 2U);
  EXPECT_EQ(arguments[1].key + "=" + arguments[1].value, "imgsz=320");
  EXPECT_EQ(read.world_size, 2);
  EXPECT_EQ(read.device_batch, 6);
  EXPECT_EQ(read.ema_updates, 375);
  EXPECT_EQ(read.rng, saved.rng);
  EXPECT_TRUE(read.model[0].second.equal(saved.model[0].second));
  EXPECT_TRUE(read.ema[0].second.equal(saved.ema[0].second));
  EXPECT_TRUE(read.optimizer[0].second.equal(saved.optimizer[0].second));
  EXPECT_TRUE(read.best[0].second.equal(saved.best[0].second));
  EXPECT_EQ(read.metadata, saved.metadata);
}

TEST(Checkpoint, AFlippedBitInAnyFileIsNoticed) {
  const TemporaryFolder folder;
  const CheckpointEvent event = write_checkpoint(folder.path(), small_snapshot(1));
  for (const FileDigest& file : event.files) {
    const fs::path path = fs::path(event.dir) / file.name;
    std::vector<uint8_t> bytes = testing::read_file(path);
    bytes[bytes.size() / 2] ^= 1;
    testing::write_file(path, bytes);
    EXPECT_NE(refusal(event.dir), "accepted") << file.name;
    bytes[bytes.size() / 2] ^= 1;
    testing::write_file(path, bytes);
    EXPECT_EQ(refusal(event.dir), "accepted") << file.name;
  }
}

TEST(Checkpoint, MissingAndTruncatedFilesAreRefused) {
  const TemporaryFolder folder;
  const CheckpointEvent event = write_checkpoint(folder.path(), small_snapshot(1));
  const fs::path ema = fs::path(event.dir) / "ema.safetensors";
  fs::resize_file(ema, fs::file_size(ema) - 1);
  EXPECT_NE(refusal(event.dir).find("bytes instead of"), std::string::npos);
  fs::remove(ema);
  EXPECT_NE(refusal(event.dir).find("ema.safetensors"), std::string::npos);
  fs::remove(fs::path(event.dir) / "state.json");
  EXPECT_NE(refusal(event.dir).find("state.json"), std::string::npos);
  EXPECT_NE(refusal(folder / "nothing"), "accepted");
}

void write_steps(CheckpointRotation& rotation, const fs::path& folder, const std::vector<int64_t>& steps) {
  for (const int64_t step : steps) rotation.add(write_checkpoint(folder, small_snapshot(step)).dir);
}

TEST(Checkpoint, OfARunsFolderTheNewestCheckpointIsNamed) {
  const TemporaryFolder run;
  const fs::path old = write_checkpoint(run / "checkpoints", small_snapshot(900)).dir;
  const fs::path newest = write_checkpoint(run / "checkpoints", small_snapshot(40)).dir;  // resumed from before
  fs::last_write_time(old / "state.json", fs::last_write_time(newest / "state.json") - std::chrono::hours(1));
  for (const fs::path& folder : {run.path(), run / "checkpoints"}) {
    try {
      read_checkpoint(folder);
      ADD_FAILURE() << folder << " was read";
    } catch (const TrainerError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_config);
      EXPECT_EQ(std::string(error.what()),
                "resume.dir: " + folder.string() + " is no checkpoint but holds some; the newest is " +
                    newest.string());
    }
  }
}

TEST(Checkpoint, WeightsAreNoCheckpointButTheirRunMayHoldSome) {
  const TemporaryFolder run;
  const fs::path newest = write_checkpoint(run / "checkpoints", small_snapshot(40)).dir;
  testing::write_file((run / "weights/last.safetensors").string(), std::string("…"));
  try {
    read_checkpoint(run / "weights/last.safetensors");
    ADD_FAILURE() << "it was read";
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    const std::string said = error.what();
    EXPECT_NE(said.find("is a file, but a checkpoint is a folder; the newest of that run is " + newest.string()), std::string::npos) << said;
    EXPECT_NE(said.find("weights=" + (run / "weights/last.safetensors").string()), std::string::npos) << said;
  }
}

TEST(Checkpoint, TheLastWrittenStayAndLeftoversGo) {
  const TemporaryFolder folder;
  fs::create_directories(folder / ".writing-step-00000020-99");
  fs::create_directories(folder / "notes");
  CheckpointRotation rotation(folder.path(), 2);
  write_steps(rotation, folder.path(), {5, 10, 10, 15, 100});
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"notes", "step-00000015", "step-00000100"}));
}

TEST(Checkpoint, ThoseOfFormerRunsInTheFolderStayAndCostANewRunNone) {
  const TemporaryFolder folder;
  for (const int64_t step : {700, 800, 900}) write_checkpoint(folder.path(), small_snapshot(step));
  CheckpointRotation rotation(folder.path(), 2);
  write_steps(rotation, folder.path(), {10, 20, 30});
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"step-00000020", "step-00000030", "step-00000700",
                                                               "step-00000800", "step-00000900"}));

  // Resumed from 700: this branch has a step 800 of its own, which comes and goes as the others do.
  CheckpointRotation resumed(folder.path(), 2);
  write_steps(resumed, folder.path(), {750, 800, 850, 860});
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"step-00000020", "step-00000030", "step-00000700",
                                                               "step-00000850", "step-00000860", "step-00000900"}));
}

TEST(Checkpoint, AFailedWriteLeavesNothingBehind) {
  const TemporaryFolder folder;
  Snapshot snapshot = small_snapshot(1);
  snapshot.ema.push_back(snapshot.ema[0]);  // two tensors of one name cannot be stored
  EXPECT_THROW(write_checkpoint(folder.path(), snapshot), std::exception);
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(Checkpoint, WrittenAgainAtTheSameStepReplacesTheOld) {
  const TemporaryFolder folder;
  write_checkpoint(folder.path(), small_snapshot(5));
  const Snapshot second = small_snapshot(5);
  const CheckpointEvent event = write_checkpoint(folder.path(), second);
  EXPECT_TRUE(read_checkpoint(event.dir).model[0].second.equal(second.model[0].second));
}

}  // namespace
}  // namespace tenfold
