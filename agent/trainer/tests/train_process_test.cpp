// Real trainer processes, as the agent starts them.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "image.h"
#include "model.h"
#include "safetensors.h"
#include "train_process.h"

namespace tenfold {
namespace {

using ::tenfold::testing::checkpoint_state;
using ::tenfold::testing::code;
using ::tenfold::testing::Json;
using ::tenfold::testing::kTrainPictures;
using ::tenfold::testing::TrainerProcess;
using ::tenfold::testing::TrainProcess;

/// How often each sample was consumed in an epoch, over all ranks.
std::map<int64_t, int> ledger(const std::vector<std::unique_ptr<TrainerProcess>>& ranks, int64_t epoch) {
  std::map<int64_t, int> counts;
  for (const auto& rank : ranks) {
    for (const Json& event : rank->events("consumed")) {
      if (event["epoch"] != epoch) continue;
      for (const Json& id : event["ids"]) ++counts[id.get<int64_t>()];
    }
  }
  return counts;
}

TEST_F(TrainProcess, ThreeRanksTrainToTheEndAndTellEverything) {
  const auto ranks = start(config("three"), 3);
  for (const auto& rank : ranks) EXPECT_EQ(rank->wait(), 0) << rank->events().back();

  for (const int64_t epoch : {1, 2}) {
    const std::map<int64_t, int> counts = ledger(ranks, epoch);
    EXPECT_EQ(counts.size(), static_cast<size_t>(kTrainPictures));
    for (const auto& [id, count] : counts) EXPECT_EQ(count, 1) << "sample " << id << " of epoch " << epoch;
  }
  for (const auto& rank : ranks) {
    EXPECT_EQ(rank->events().front()["type"], "hello");
    EXPECT_EQ(rank->events("joined")[0]["backend"], "gloo");
    EXPECT_EQ(rank->events("step").size(), 6U);
    EXPECT_EQ(rank->events().back()["reason"], "completed");
  }
  EXPECT_EQ(ranks[0]->events("model")[0]["nc"], 3);
  EXPECT_EQ(ranks[0]->events("epoch").size(), 2U);
  EXPECT_TRUE(ranks[1]->events("epoch").empty());
  const std::vector<Json> checkpoints = ranks[0]->events("checkpoint");
  ASSERT_EQ(checkpoints.size(), 2U);
  EXPECT_EQ(checkpoints[1]["step"], 6);
  EXPECT_EQ(checkpoints[1]["cursor"], (Json{{"epoch", 3}, {"offset", 0}}));

  std::vector<std::string> artifacts;
  for (const Json& event : ranks[0]->events("artifact")) artifacts.push_back(event["path"]);
  for (const char* expected :
       {"args.yaml", "results.csv", "results.png", "metrics.json", "labels.jpg", "train_batch0.jpg", "train_batch2.jpg",
        "val_batch0_labels.jpg", "val_batch0_pred.jpg", "val_pred/03.jpg", "BoxPR_curve.png", "BoxF1_curve.png",
        "BoxP_curve.png", "BoxR_curve.png", "confusion_matrix.png", "confusion_matrix_normalized.png",
        "weights/best.safetensors", "weights/last.safetensors"}) {
    EXPECT_EQ(std::count(artifacts.begin(), artifacts.end(), expected), 1) << expected;
    EXPECT_TRUE(std::filesystem::exists(folder_ / "three" / expected)) << expected;
  }
  EXPECT_EQ(std::count_if(artifacts.begin(), artifacts.end(),
                          [](const std::string& name) { return name.starts_with("events.out.tfevents."); }),
            1);
  EXPECT_TRUE(ranks[0]->events("warning").empty()) << ranks[0]->events("warning").front();
}

Json metrics_of(const std::filesystem::path& run) { return Json::parse(std::ifstream(run / "metrics.json")); }

TEST_F(TrainProcess, TheBestWeightsAreJudgedClassByClassWhateverTheRanksAndRestarts) {
  const auto one = start(config("one"), 1);
  EXPECT_EQ(one[0]->wait(), 0) << one[0]->events().back();
  const std::vector<Json> evaluations = one[0]->events("evaluation");
  ASSERT_EQ(evaluations.size(), 1U);
  EXPECT_EQ(evaluations[0]["images"], 3);
  ASSERT_EQ(evaluations[0]["classes"].size(), 3U);
  EXPECT_EQ(evaluations[0]["classes"][1]["name"], "green");
  EXPECT_EQ(evaluations[0]["classes"][1]["labels"], 1);
  const Json metrics = metrics_of(folder_ / "one");
  EXPECT_EQ(metrics["classes"][2]["AP50"], evaluations[0]["classes"][2]["map50"]);
  EXPECT_EQ(metrics["confusion_matrix"]["by_predicted_then_actual"].size(), 4U);

  // Resumed after its last epoch nothing is left to train: what was known before is found out again, on three ranks.
  const Json checkpoint = one[0]->events("checkpoint").back();
  const auto resumed = start(config("again", [&](Json& json) { json["resume"] = {{"dir", checkpoint["dir"]}}; }), 3);
  for (const auto& rank : resumed) EXPECT_EQ(rank->wait(), 0) << rank->events().back();
  Json again = metrics_of(folder_ / "again");
  EXPECT_EQ(again["epoch"], metrics["epoch"]);
  EXPECT_EQ(again["labels"], metrics["labels"]);
  EXPECT_NEAR(again["mAP50-95"].get<double>(), metrics["mAP50-95"].get<double>(), 1e-6);
  EXPECT_EQ(again["confusion_matrix"], metrics["confusion_matrix"]);
}

TEST_F(TrainProcess, CheckpointsComeEverySoManyStepsAlsoAtTheEndOfAnEpochAndOfTheTraining) {
  const auto steps_of = [&](int every) {
    const auto ranks = start(config("every-" + std::to_string(every), [&](Json& json) {
      json["checkpoint"]["every"] = {{"steps", every}};
    }), 1);
    EXPECT_EQ(ranks[0]->wait(), 0) << ranks[0]->events().back();
    std::vector<int> steps;
    for (const Json& checkpoint : ranks[0]->events("checkpoint")) steps.push_back(checkpoint["step"]);
    return steps;
  };
  // Three steps an epoch, six in all.
  EXPECT_EQ(steps_of(1), (std::vector{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(steps_of(3), (std::vector{3, 6}));
  EXPECT_EQ(steps_of(4), (std::vector{4, 6}));
}

TEST_F(TrainProcess, PatienceBeginsWithTheFirstObjectThatIsFound) {
  std::vector<testing::ShardSample> empty = scenes("val", 3);
  for (auto& sample : empty) sample.labels.clear();
  testing::write_shards(folder_ / "bare", {"red", "green", "blue"}, {{"train", {scenes("train", 4)}}, {"val", {empty}}});
  const auto ranks = start(config("bare-run", [&](Json& json) {
    json["data"] = {{"kind", "shards"}, {"index", (folder_ / "bare/index.json").string()}, {"dir", (folder_ / "bare").string()}};
    json["train"]["epochs"] = 3;
    json["train"]["patience"] = 1;
  }), 1);
  EXPECT_EQ(ranks[0]->wait(), 0) << ranks[0]->events().back();
  EXPECT_EQ(ranks[0]->events("epoch").size(), 3U);
}

TEST_F(TrainProcess, SlicesLargerThanADeviceTakesAreComputedInParts) {
  const auto parts = [](Json& json) { json["train"].update({{"batch", 8}, {"device_batch", 3}}); };
  const auto ranks = start(config("parts", parts), 2);
  for (const auto& rank : ranks) ASSERT_EQ(rank->wait(), 0) << rank->events().back();
  EXPECT_EQ(ranks[0]->events("step").size(), 4U) << "steps are those of whole batches";
  for (const int64_t epoch : {1, 2}) EXPECT_EQ(ledger(ranks, epoch).size(), static_cast<size_t>(kTrainPictures));
}

TEST_F(TrainProcess, Float16HalvesItsLossScaleUntilGradientsFitAndTellsEachTime) {
  const auto half = [](Json& json) {  // float16 is slow on CPUs
    json["train"].update({{"amp", "fp16"}, {"box", 1e4}, {"imgsz", 32}, {"epochs", 1}, {"val", false}});
  };
  const auto ranks = start(config("half", half), 1);
  ASSERT_EQ(ranks[0]->wait(), 0) << ranks[0]->events().back();
  double expected = 65'536;
  for (const Json& warning : ranks[0]->events("warning")) {
    EXPECT_EQ(warning["code"], "loss_scale");
    expected /= 2;
  }
  EXPECT_LT(expected, 65'536) << "such losses overflow";
  EXPECT_EQ(checkpoint_state(ranks[0]->events("checkpoint").back())["loss_scale"]["value"], expected);
}

TEST_F(TrainProcess, ALimitOfTimeDecidesOnTheNumberOfEpochs) {
  const auto ranks = start(config("short", [](Json& json) {
                             json["train"]["epochs"] = 100;
                             json["train"]["time"] = 1e-9;  // less than an epoch takes: the first one is the last
                           }),
                           2);
  for (const auto& rank : ranks) EXPECT_EQ(rank->wait(), 0) << rank->events().back();
  EXPECT_EQ(ranks[0]->events("epoch").size(), 1U);
  EXPECT_EQ(ranks[0]->events("checkpoint").size(), 1U);
  EXPECT_EQ(ranks[0]->events().back()["message"], "1 epoch");
}

TEST_F(TrainProcess, KeepsTheWeightsOfEveryPeriodAndTellsOfThemAtOnce) {
  const auto ranks = start(config("kept", [](Json& json) {
                             json["train"].update({{"save_period", 1}, {"optimizer", "Adam"}, {"freeze", 10}});
                           }),
                           1);
  EXPECT_EQ(ranks[0]->wait(), 0) << ranks[0]->events().back();
  std::vector<std::string> told;
  for (const Json& event : ranks[0]->events()) {
    if (event["type"] == "artifact" || event["type"] == "epoch") told.push_back(event.value("path", "an epoch"));
  }
  const auto place = [&](const std::string& what) { return std::find(told.begin(), told.end(), what) - told.begin(); };
  EXPECT_LT(place("weights/epoch1.safetensors"), place("results.csv"));
  EXPECT_LT(place("weights/epoch2.safetensors"), place("results.csv"));
  EXPECT_NE(testing::read_file(folder_ / "kept/weights/epoch1.safetensors"),
            testing::read_file(folder_ / "kept/weights/epoch2.safetensors"));
}

TEST_F(TrainProcess, GradientsThatAreNotFiniteAreSkippedOrEndTheTrainingAndAreTold) {
  const auto diverging = [](const char* policy) {
    return [policy](Json& json) { json["train"].update({{"box", 1e39}, {"nan_policy", policy}, {"epochs", 5}}); };
  };
  const auto ends = start(config("ends", diverging("end")), 1);
  EXPECT_EQ(ends[0]->wait(), code(ExitCode::diverged));
  EXPECT_TRUE(ends[0]->events("warning").empty());
  EXPECT_NE(ends[0]->events().back()["message"].get<std::string>().find("in step 1"), std::string::npos);

  const auto skips = start(config("skips", diverging("skip")), 2);
  for (const auto& rank : skips) EXPECT_EQ(rank->wait(), code(ExitCode::diverged));
  std::vector<std::string> told;
  for (const Json& warning : skips[0]->events("warning")) told.push_back(warning["code"]);
  const std::string skipped = "skipped_step";  // three steps an epoch
  EXPECT_EQ(told, (std::vector<std::string>{skipped, skipped, skipped, "validation_loss", skipped}));
  EXPECT_NE(skips[0]->events().back()["message"].get<std::string>().find("5 steps in a row"), std::string::npos);
}

/// A picture of reds and greens, and of as much blue as told.
testing::ShardSample coloured_sample(const std::string& name, uint8_t blue) {
  Image image(64, 64);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      uint8_t* const pixel = image.row(y) + 3 * x;
      pixel[0] = static_cast<uint8_t>(x * y), pixel[1] = static_cast<uint8_t>(3 * x + y * y), pixel[2] = blue;
    }
  }
  return {name, 64, 64, encode_png(image), {{0, 0.5F, 0.5F, 0.5F, 0.5F}}};
}

/// Weights with which the first map sums up blue: nine times 1e38 is infinite.
void write_weights_against_blue(const std::filesystem::path& file) {
  const auto model = build_detector(load_model_spec("yolov8n"), 1);
  NamedTensors weights;
  for (const auto& [name, tensor] : named_state(*model)) {
    weights.emplace_back(name, tensor.detach().clone());
    if (name == "model.0.conv.weight") weights.back().second[0].zero_()[2].fill_(1e38);
  }
  write_safetensors(file, weights, {});
}

/// Trains such weights on pictures as they are, of the shards in `data`.
void train_against_blue(Json& json, const std::filesystem::path& data) {
  write_weights_against_blue(data / "huge.safetensors");
  json["data"] = {{"kind", "shards"}, {"index", (data / "index.json").string()}, {"dir", data.string()}};
  json["model"]["weights"] = (data / "huge.safetensors").string();
  json["train"].update({{"epochs", 1}, {"batch", 1}, {"amp", "off"}, {"optimizer", "SGD"}, {"mosaic", 0}, {"scale", 0},
                        {"translate", 0}, {"hsv_h", 0}, {"hsv_s", 0}});
}

TEST_F(TrainProcess, ABatchThatOverflowsOnItsWayForwardLeavesNoTrace) {
  testing::write_shards(folder_ / "plain", {"thing"},
               {{"train", {{coloured_sample("a", 0), coloured_sample("b", 255), coloured_sample("c", 0)}}},
                {"val", {{coloured_sample("d", 0)}}}});
  const auto ranks = start(config("overflow", [&](Json& json) {
                             train_against_blue(json, folder_ / "plain");
                             json["train"]["val"] = false;
                           }), 1);
  EXPECT_EQ(ranks[0]->wait(), 0) << ranks[0]->events().back();
  const std::vector<Json> warnings = ranks[0]->events("warning");
  ASSERT_EQ(warnings.size(), 1U) << warnings.back();
  EXPECT_EQ(warnings[0]["code"], "skipped_step");
  for (const auto& [name, tensor] : read_safetensors(folder_ / "overflow/weights/last.safetensors").tensors)
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
}

TEST_F(TrainProcess, AValidationWhoseLossIsNotFiniteIsToldOrEndsTheTraining) {
  testing::write_shards(folder_ / "blue", {"thing"},
               {{"train", {{coloured_sample("a", 0), coloured_sample("b", 0)}}}, {"val", {{coloured_sample("c", 255)}}}});
  const auto by_policy = [&](const char* policy) {
    return start(config(policy, [&](Json& json) {
                   train_against_blue(json, folder_ / "blue");
                   json["train"]["nan_policy"] = policy;
                 }), 1);
  };
  const auto told = by_policy("skip"), ended = by_policy("end");
  EXPECT_EQ(told[0]->wait(), 0) << told[0]->output();
  const std::vector<Json> warnings = told[0]->events("warning");
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0]["code"], "validation_loss");
  EXPECT_TRUE(testing::mentions(warnings[0]["message"], "epoch 1: the validation's ")) << warnings[0];
  EXPECT_EQ(ended[0]->wait(), code(ExitCode::diverged));
  EXPECT_TRUE(testing::mentions(ended[0]->events().back()["message"], "loss is NaN or infinite"));
}

TEST_F(TrainProcess, StopsWithACheckpointWhenOneRankIsTold) {
  const auto ranks = start(config("stopped", [](Json& json) { json["train"]["epochs"] = 1000; }), 2);
  ASSERT_FALSE(ranks[1]->wait_for_type("step").is_null());
  ranks[1]->command(R"({"cmd":"stop","checkpoint":true})");
  for (const auto& rank : ranks) EXPECT_EQ(rank->wait(), code(ExitCode::stopped));
  const std::vector<Json> checkpoints = ranks[0]->events("checkpoint");
  ASSERT_FALSE(checkpoints.empty());
  EXPECT_EQ(checkpoints.back()["step"], ranks[0]->events("step").back()["step"]);
}

TEST_F(TrainProcess, ACheckpointIsWrittenOnCommand) {
  const auto ranks = start(config("commanded", [](Json& json) {
                             json["train"]["epochs"] = 1000;
                             json["checkpoint"]["every"] = Json::object();
                           }),
                           1);
  ranks[0]->command(R"({"cmd":"checkpoint"})");
  const Json checkpoint = ranks[0]->wait_for_type("checkpoint");
  ASSERT_FALSE(checkpoint.is_null());
  EXPECT_TRUE(std::filesystem::exists(checkpoint["dir"].get<std::string>() + "/state.json"));
  ranks[0]->command(R"({"cmd":"stop","checkpoint":false})");
  EXPECT_EQ(ranks[0]->wait(), code(ExitCode::stopped));
}

TEST_F(TrainProcess, ACheckpointOnCommandIsWrittenToEpochsOfASingleStepToo) {
  const auto ranks = start(config("commanded", [](Json& json) {
                             json["train"].update({{"epochs", 1000}, {"batch", kTrainPictures}});
                             json["checkpoint"]["every"] = Json::object();
                           }),
                           1);
  ranks[0]->command(R"({"cmd":"checkpoint"})");
  const Json checkpoint = ranks[0]->wait_for_type("checkpoint");
  ASSERT_FALSE(checkpoint.is_null());
  EXPECT_EQ(checkpoint_state(checkpoint)["finished_epochs"], checkpoint["step"]) << "with the result of its epoch";
  ranks[0]->command(R"({"cmd":"stop","checkpoint":false})");
  EXPECT_EQ(ranks[0]->wait(), code(ExitCode::stopped));
}

TEST_F(TrainProcess, AnOrphanEnds) {
  const auto ranks = start(config("orphan", [](Json& json) { json["train"]["epochs"] = 1000; }), 1);
  ASSERT_FALSE(ranks[0]->wait_for_type("step").is_null());
  ranks[0]->close_control();
  EXPECT_EQ(ranks[0]->wait(), code(ExitCode::orphaned));
}

}  // namespace
}  // namespace tenfold
