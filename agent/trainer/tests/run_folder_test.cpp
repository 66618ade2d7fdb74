#include "run_folder.h"

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "config.h"
#include "data_fixtures.h"
#include "exit_code.h"
#include "setting.h"
#include "sha256.h"

namespace tenfold {
namespace {

using testing::TemporaryFolder;

TEST(RunFolder, ResultsHaveTheHeaderThatYoloToolsReadAndNothingWhereNothingWasMeasured) {
  const LossItems train{{"box", 1}, {"cls", 2}, {"dfl", 3}}, val{{"box", 3}, {"cls", 2}, {"dfl", 1}};
  const std::string csv =
      results_csv({{1, 12.5, train, MetricSummary{0.1, 0.2, 0.3, 0.4}, val, {0.07, 0.01, 0.01}},
                   {2, 25, train, std::nullopt, std::nullopt, {0.07, 0.01, 0.01}}});
  EXPECT_EQ(csv,
            "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),"
            "metrics/mAP50(B),metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0,lr/pg1,lr/pg2\n"
            "1,12.5,1,2,3,0.1,0.2,0.3,0.4,3,2,1,0.07,0.01,0.01\n"
            "2,25,1,2,3,,,,,,,,0.07,0.01,0.01\n");
}

TEST(RunFolder, ResultsNameTheLossesOfOtherFamilies) {
  const LossItems train{{"box", 1}, {"obj", 2}, {"cls", 3}};
  const std::string csv = results_csv({{1, 12.5, train, std::nullopt, std::nullopt, {0.07, 0.01, 0.01}}});
  EXPECT_NE(csv.find("train/box_loss,train/obj_loss,train/cls_loss,"), std::string::npos);
  EXPECT_NE(csv.find("val/box_loss,val/obj_loss,val/cls_loss,"), std::string::npos);
}

TEST(RunFolder, ArgsCanBeReadAsYaml) {
  Config config;
  config.data = YamlData{"cells: odd \"name\".yaml"};
  config.train.amp = "off";
  const YAML::Node args = YAML::Load(args_yaml(config));
  EXPECT_EQ(args["data"].as<std::string>(), "cells: odd \"name\".yaml");
  EXPECT_EQ(args["amp"].as<std::string>(), "off");
  EXPECT_EQ(args["epochs"].as<int>(), 100);
  EXPECT_DOUBLE_EQ(args["lr0"].as<double>(), 0.01);
  EXPECT_FALSE(args["cos_lr"].as<bool>());
  EXPECT_TRUE(args["weights"].IsNull());
}

/// The line of args.yaml that begins with `name`.
std::string argument_line(const Config& config, const std::string& name) {
  const std::string text = '\n' + args_yaml(config);
  const size_t begin = text.find('\n' + name + ": ") + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

TEST(RunFolder, ArgsKeepEveryDigitAndStayNumbersForYaml11) {
  Config config;
  config.train.lr0 = 0.00001;
  config.train.lrf = 1.25e-7;
  config.train.momentum = 0.123456789012;
  config.train.warmup_epochs = 3;
  config.train.max_grad_norm = 1e30;
  config.train.box = 1.0 / 3;
  EXPECT_EQ(argument_line(config, "lr0"), "lr0: 1.0e-05");
  EXPECT_EQ(argument_line(config, "lrf"), "lrf: 1.25e-07");
  EXPECT_EQ(argument_line(config, "momentum"), "momentum: 0.123456789012");
  EXPECT_EQ(argument_line(config, "warmup_epochs"), "warmup_epochs: 3");
  EXPECT_EQ(argument_line(config, "weight_decay"), "weight_decay: 0.0005");
  EXPECT_EQ(argument_line(config, "max_grad_norm"), "max_grad_norm: 1.0e+30");
  const YAML::Node args = YAML::Load(args_yaml(config));
  EXPECT_EQ(args["lr0"].as<double>(), 0.00001);
  EXPECT_EQ(args["box"].as<double>(), 1.0 / 3);
}

TEST(RunFolder, AFileInItsWayIsFoundBeforeAnythingElse) {
  const TemporaryFolder folder;
  testing::write_file(folder / "taken", std::string("a file"));
  const auto problem = [&](const std::filesystem::path& run, const std::filesystem::path& checkpoints) -> std::string {
    Config config;
    config.run_dir = run;
    config.checkpoint.dir = checkpoints;
    try {
      check_folders(config);
    } catch (const TrainerError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_config);
      return error.what();
    }
    return "";
  };
  const std::string taken = (folder / "taken").string();
  EXPECT_EQ(problem(folder / "new/run", folder.path()), "");
  EXPECT_EQ(problem(taken, folder.path()), "run.dir: " + taken + " cannot be a folder: it is a file");
  EXPECT_EQ(problem(folder.path(), folder / "taken/checkpoints"),
            "checkpoint.dir: " + taken + "/checkpoints cannot be a folder: " + taken + " is a file");
}

TEST(RunFolder, ThatHoldsATrainingIsForGoingOnAlone) {
  const TemporaryFolder folder;
  Config config;
  config.run_dir = folder.path();
  config.checkpoint.dir = folder / "checkpoints";
  check_folders(config);
  testing::write_file(folder / "results.csv", std::string("epoch"));
  testing::write_file(folder / "checkpoints/step-00000007/state.json", std::string("{}"));
  try {
    check_folders(config);
    ADD_FAILURE() << "nothing was refused";
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.what(), "run.dir: " + folder.path().string() +
                                " holds a training already; name another folder or none, or go on with that one: resume=" +
                                (folder / "checkpoints/step-00000007").string());
  }
  config.resume_dir = folder / "checkpoints/step-00000007";
  check_folders(config);
  const TemporaryFolder elsewhere;
  config.resume_dir = elsewhere / "checkpoints/step-00000007";
  EXPECT_THROW(check_folders(config), TrainerError) << "another training's checkpoint";
  check_folders(config, /*trusting=*/true);
  config.checkpoint.dir = elsewhere / "checkpoints";  // on another disk, say
  check_folders(config);
}

TEST(RunFolder, OfARunThatNamesNoneIsItsOwnFromTheStart) {
  const TemporaryFolder folder;
  const testing::WorkingFolder here(folder.path());
  Config first = load_config({}, {{"data", "data.yaml"}}), second = load_config({}, {{"data", "data.yaml"}});
  EXPECT_EQ(second.run_dir, first.run_dir) << "neither has begun";
  claim_run_folder(first);
  claim_run_folder(second);
  EXPECT_EQ(first.run_dir, "tenfold-run/train");
  EXPECT_EQ(second.run_dir, "tenfold-run/train2");
  EXPECT_EQ(second.checkpoint.dir, "tenfold-run/train2/checkpoints");
  testing::write_file(folder / "tenfold-run/train/args.yaml", std::string("name: train"));
  give_back_run_folder(first);
  give_back_run_folder(second);
  EXPECT_TRUE(std::filesystem::exists(first.run_dir));
  EXPECT_FALSE(std::filesystem::exists(second.run_dir)) << "it failed before it wrote anything";
}

TEST(RunFolder, ListsFinishedFilesWithoutCheckpoints) {
  const TemporaryFolder folder;
  testing::write_file(folder / "results.csv", std::string("a"));
  testing::write_file(folder / "weights/best.safetensors", std::string("bc"));
  testing::write_file(folder / "weights/last.safetensors.tmp", std::string("half"));
  testing::write_file(folder / "checkpoints/step-00000001/state.json", std::string("{}"));
  testing::write_file(folder / "another/weights/best.safetensors", std::string("of another run"));
  const std::vector<FileDigest> files = run_files(folder.path());
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].name, "results.csv");
  EXPECT_EQ(files[1].name, "weights/best.safetensors");
  EXPECT_EQ(files[1].bytes, 2);
  EXPECT_EQ(files[1].sha256, sha256_hex(std::vector<uint8_t>{'b', 'c'}));
}

}  // namespace
}  // namespace tenfold
