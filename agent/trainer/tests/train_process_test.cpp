// Real trainer processes, as the agent starts them.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "model.h"
#include "safetensors.h"
#include "test_detectors.h"
#include "train_process.h"

namespace tenfold {
namespace {

using ::tenfold::testing::code;
using ::tenfold::testing::Json;
using ::tenfold::testing::kTrainPictures;
using ::tenfold::testing::losses_of;
using ::tenfold::testing::mentions;
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

TEST_F(TrainProcess, ResumesInTheMiddleOfAnEpochBitForBit) {
  const auto every_two_steps = [](Json& json) { json["checkpoint"]["every"] = {{"steps", 2}}; };
  for (const int world_size : {1, 3}) {
    const std::string name = "whole-" + std::to_string(world_size);
    const auto whole = start(config(name, every_two_steps), world_size);
    for (const auto& rank : whole) ASSERT_EQ(rank->wait(), 0) << rank->events().back();
    const Json checkpoint = whole[0]->events("checkpoint").at(0);
    ASSERT_EQ(checkpoint["step"], 2);

    const auto resumed = start(config("resumed-" + std::to_string(world_size),
                                      [&](Json& json) {
                                        every_two_steps(json);
                                        json["resume"] = {{"dir", checkpoint["dir"]}};
                                      }),
                               world_size);
    for (const auto& rank : resumed) ASSERT_EQ(rank->wait(), 0) << rank->events().back();
    EXPECT_EQ(resumed[0]->events("resumed")[0]["cursor"], (Json{{"epoch", 1}, {"offset", 8}}));

    std::map<int64_t, std::vector<Json>> expected = losses_of(whole);
    expected.erase(1);
    expected.erase(2);
    EXPECT_EQ(losses_of(resumed), expected);
    const auto weights = [&](const std::string& run) {
      return testing::read_file(folder_ / run / "weights/last.safetensors");
    };
    EXPECT_EQ(weights("resumed-" + std::to_string(world_size)), weights(name));
    const auto metrics = [](const std::vector<std::unique_ptr<TrainerProcess>>& ranks) {
      std::vector<Json> all;
      for (const Json& event : ranks[0]->events("epoch")) all.push_back({event["train"], event["val"], event["metrics"]});
      return all;
    };
    EXPECT_EQ(metrics(resumed), metrics(whole));
  }
}

TEST_F(TrainProcess, EveryFamilyTrainsOnTwoRanksAndResumesBitForBit) {
  const std::map<std::string, std::vector<std::string>> families = {
      {"yolov5n", {"box", "obj", "cls"}}, {"yolov10n", {"box_om", "cls_om", "dfl_om", "box_oo", "cls_oo", "dfl_oo"}}};
  for (const auto& [arch, items] : families) {
    const auto of_family = [&, arch = arch](Json& json) {
      json["model"]["arch"] = arch;
      json["checkpoint"]["every"] = {{"steps", 4}};
    };
    const auto whole = start(config(arch, of_family), 2);
    for (const auto& rank : whole) ASSERT_EQ(rank->wait(), 0) << rank->events().back();
    std::vector<std::string> names;
    const Json first_epoch = whole[0]->events("epoch").at(0);
    for (const Json& item : first_epoch["val"]) names.push_back(item["name"]);
    EXPECT_EQ(names, items);
    std::string header;
    std::getline(std::ifstream(folder_ / arch / "results.csv"), header);
    for (const auto& item : items) EXPECT_NE(header.find("train/" + item + "_loss"), std::string::npos) << header;

    const Json checkpoint = whole[0]->events("checkpoint").at(0);
    ASSERT_EQ(checkpoint["step"], 4);
    const auto resumed = start(config(arch + "-resumed",
                                      [&](Json& json) {
                                        of_family(json);
                                        json["resume"] = {{"dir", checkpoint["dir"]}};
                                      }),
                               2);
    for (const auto& rank : resumed) ASSERT_EQ(rank->wait(), 0) << rank->events().back();
    std::map<int64_t, std::vector<Json>> expected = losses_of(whole);
    expected.erase(expected.begin(), expected.upper_bound(4));
    EXPECT_EQ(losses_of(resumed), expected) << arch;
  }
}

TEST_F(TrainProcess, ANetworkOfALargerStrideTrainsIsValidatedAndSaysWhichSidesItTakes) {
  testing::write_file(folder_ / "deep.yaml",
                      "family: v8\nlayers:\n"
                      "  - {block: Conv, from: image, channels: 8, kernel: 3, stride: 4}\n"
                      "  - {block: Conv, channels: 16, kernel: 3, stride: 4}\n"
                      "  - {id: coarse, block: Conv, channels: 16, kernel: 3, stride: 2}\n"
                      "  - {id: coarsest, block: Conv, channels: 16, kernel: 3, stride: 2}\n"
                      "  - {block: Upsample}\n"
                      "  - {id: joined, block: Concat, from: [previous, coarse]}\n"
                      "  - {block: Detect, from: [joined, coarsest], reg_max: 8}\n");
  const auto deep = [&](const std::string& name, int imgsz, bool rect) {
    return start(config(name, [&](Json& json) {
      json["model"]["arch"] = (folder_ / "deep.yaml").string();
      json["train"]["imgsz"] = imgsz;
      json["train"]["rect"] = rect;
      json["train"]["batch"] = 5;  // of 11 pictures: the last batch is one, and its coarsest map a single pixel
    }), 1);
  };
  for (const bool rect : {false, true}) {
    const auto ranks = deep(rect ? "rectangles" : "squares", 64, rect);
    EXPECT_EQ(ranks[0]->wait(), 0) << ranks[0]->events().back();
    EXPECT_EQ(ranks[0]->events("epoch").size(), 2U);
  }
  const auto refused = deep("refused", 96, false);
  EXPECT_EQ(refused[0]->wait(), code(ExitCode::bad_config));
  EXPECT_TRUE(mentions(refused[0]->events().back()["message"],
                       "train.imgsz must be a multiple of 64, the largest stride of deep; 128 is near 96"))
      << refused[0]->events().back();
}

TEST_F(TrainProcess, ArgumentsThatOthersReplaceAreTold) {
  testing::write_detector(folder_ / "given.safetensors", *testing::lively_detector("yolov8n", 3), "yolov8n",
                          {"red", "green", "blue"}, 64);
  const auto ranks = start(config("tuned", [&](Json& json) {
    json["model"]["weights"] = (folder_ / "given.safetensors").string();
    json["train"]["epochs"] = 1;
    json["train"]["lr0"] = 0.02;
    json["train"]["rect"] = true;
    json["train"]["mixup"] = 0.25;
  }), 1);
  EXPECT_EQ(ranks[0]->wait(), 0) << ranks[0]->events().back();
  std::map<std::string, std::string> told;
  for (const Json& warning : ranks[0]->events("warning"))
    if (warning["code"] == "overruled") told[warning["subject"]] = warning["message"];
  ASSERT_EQ(told.size(), 2U);
  EXPECT_TRUE(mentions(told["lr0"], "train.lr0 is 0.00142857 instead of 0.02: optimizer auto chose so")) << told["lr0"];
  EXPECT_TRUE(mentions(told["mixup"], "train.mixup is 0 instead of 0.25: rect")) << told["mixup"];
  const std::vector<uint8_t> file = testing::read_file(folder_ / "tuned" / "args.yaml");
  const std::string args(file.begin(), file.end());
  for (const char* line : {"\nmosaic: 0\n", "\nmixup: 0\n", "\noptimizer: AdamW\n"})
    EXPECT_TRUE(mentions(args, line)) << args;
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

TEST_F(TrainProcess, DataThatNothingCanBeLearntFromEndsTheTraining) {
  const auto message_of = [&](const std::string& name, const std::vector<testing::ShardSample>& train,
                              const std::vector<testing::ShardSample>& val) {
    testing::write_shards(folder_ / name, {"red", "green", "blue"}, {{"train", {train}}, {"val", {val}}});
    const auto ranks = start(config(name + "-run", [&](Json& json) {
      json["data"] = {{"kind", "shards"}, {"index", (folder_ / name / "index.json").string()}, {"dir", (folder_ / name).string()}};
      json["train"]["workers"] = 0;
    }), 2);
    for (const auto& rank : ranks) EXPECT_EQ(rank->wait(), code(ExitCode::bad_data)) << rank->events().back();
    return ranks[0]->events().back()["message"].get<std::string>();
  };
  std::vector<testing::ShardSample> unlabelled = scenes("train", 5), junk = scenes("junk", 5);
  for (auto& sample : unlabelled) sample.labels.clear();
  for (auto& sample : junk) sample.file.assign(100, 7);
  EXPECT_TRUE(mentions(message_of("unlabelled", unlabelled, scenes("val", 3)), "none of the 5 training images has a label"));
  EXPECT_TRUE(mentions(message_of("unreadable", junk, scenes("val", 3)), "none of the 5 training images can be read"));
  EXPECT_TRUE(mentions(message_of("unjudged", scenes("train", 5), junk), "none of the 5 validation images can be read"));
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

TEST_F(TrainProcess, ANetworkOfTheUsersOwnIsKnownByWhatItsYamlSaysNotByWhereItLies) {
  const std::string yaml =
      "family: v8\nlayers:\n"
      "  - {block: Conv, from: image, channels: 16, kernel: 3, stride: 2}\n"
      "  - {block: Conv, channels: 16, kernel: 3, stride: 2}\n"
      "  - {id: fine, block: C2f, channels: 16, repeats: 2, shortcut: true}\n"
      "  - {id: coarse, block: Conv, channels: 32, kernel: 3, stride: 2}\n"
      "  - {block: Detect, from: [fine, coarse], reg_max: 8}\n";
  const auto own = [&](const std::string& attempt, const std::string& text, const Json& resume) {
    const std::filesystem::path file = folder_ / (attempt + "-files") / "model.yaml";
    testing::write_file(file, text);
    return config(attempt, [&](Json& json) {
      json["model"]["arch"] = file.string();
      json["resume"] = resume;
    });
  };
  const auto first = start(own("attempt-1", yaml, nullptr), 1);
  ASSERT_EQ(first[0]->wait(), 0) << first[0]->events().back();
  EXPECT_EQ(first[0]->events("model").at(0)["arch"], "model");
  const Json resume = {{"dir", first[0]->events("checkpoint").at(0)["dir"]}};

  const auto second = start(own("attempt-2", "# the same network\n" + yaml, resume), 1);
  ASSERT_EQ(second[0]->wait(), 0) << second[0]->events().back();
  EXPECT_EQ(second[0]->events("epoch").size(), 1U);

  // As its weights have the same names and shapes, nothing else would tell.
  std::string other = yaml;
  other.replace(other.find("shortcut: true"), 14, "shortcut: false");
  const auto third = start(own("attempt-3", other, resume), 1);
  EXPECT_EQ(third[0]->wait(), code(ExitCode::bad_config));
  EXPECT_TRUE(mentions(third[0]->events().back()["message"], "resume.dir is of another training"));
}

Json checkpoint_state(const Json& checkpoint) {
  std::ifstream in(checkpoint["dir"].get<std::string>() + "/state.json");
  return Json::parse(in);
}

/// Rewrites what a checkpoint says beside its tensors, as if the training had gone another way.
void change_state(const Json& checkpoint, const std::function<void(Json&)>& change) {
  Json state = checkpoint_state(checkpoint);
  change(state);
  testing::write_file(checkpoint["dir"].get<std::string>() + "/state.json", state.dump());
}

TEST_F(TrainProcess, TheLargestBatchIsFoundByTheRanksTogetherAndStaysOverAResume) {
  const auto automatic = [](Json& json) { json["train"]["batch"] = "auto"; };
  const auto first = start(config("fitted", automatic), 2);
  for (const auto& rank : first) ASSERT_EQ(rank->wait(), 0) << rank->events().back();
  const std::vector<Json> told = first[0]->events("batch");
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0]["batch"], kTrainPictures) << "small pictures: all of them fit";
  EXPECT_EQ(told[0]["device_batch"], (kTrainPictures + 1) / 2);
  EXPECT_GT(told[0]["peak_bytes"], 0);
  EXPECT_TRUE(first[1]->events("batch").empty());
  EXPECT_EQ(first[0]->events("step").size(), 2U) << "one an epoch";

  const Json checkpoint = first[0]->events("checkpoint").at(0);
  EXPECT_EQ(checkpoint_state(checkpoint)["identity"]["batch"], kTrainPictures);
  const auto resumed = start(config("fitted-resumed",
                                    [&](Json& json) {
                                      automatic(json);
                                      json["resume"] = {{"dir", checkpoint["dir"]}};
                                    }),
                             1);
  EXPECT_EQ(resumed[0]->wait(), 0) << resumed[0]->events().back();
  EXPECT_TRUE(resumed[0]->events("batch").empty());
  EXPECT_EQ(resumed[0]->events("step").size(), 1U);
}

TEST_F(TrainProcess, ThePartsOfABatchStayOverAResumeOnAsManyRanks) {
  const auto automatic = [](Json& json) { json["train"]["batch"] = "auto"; };
  const auto first = start(config("parted", automatic), 1);
  ASSERT_EQ(first[0]->wait(), 0) << first[0]->events().back();
  const Json checkpoint = first[0]->events("checkpoint").at(0);
  // As from a start on which passes of four pictures were all that fitted.
  change_state(checkpoint, [](Json& state) { state["device_batch"] = 4; });
  const auto resume = [&](Json& json) {
    automatic(json);
    json["resume"] = {{"dir", checkpoint["dir"]}};
  };
  const auto alike = start(config("parted-alike", resume), 1);
  ASSERT_EQ(alike[0]->wait(), 0) << alike[0]->events().back();
  ASSERT_EQ(alike[0]->events("batch").size(), 1U);
  EXPECT_EQ(alike[0]->events("batch")[0]["device_batch"], 4);
  EXPECT_EQ(checkpoint_state(alike[0]->events("checkpoint").at(0))["device_batch"], 4);

  const auto others = start(config("parted-others", resume), 2);
  for (const auto& rank : others) ASSERT_EQ(rank->wait(), 0) << rank->events().back();
  EXPECT_EQ(checkpoint_state(others[0]->events("checkpoint").at(0))["device_batch"], (kTrainPictures + 1) / 2);
}

/// Names of the files that a rank told, but for pictures of training batches: those are of an attempt's first steps.
std::set<std::string> told_files(TrainerProcess& rank) {
  std::set<std::string> names;
  for (const Json& event : rank.events("artifact")) {
    const std::string name = event["path"];
    const std::string events = "events.out.tfevents";
    if (!name.starts_with("train_batch")) names.insert(name.starts_with(events) ? events : name);
  }
  return names;
}

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST_F(TrainProcess, TheRunFolderIsWholeWhereverTheJobWasResumed) {
  const auto whole = start(config("whole"), 1);
  ASSERT_EQ(whole[0]->wait(), 0) << whole[0]->events().back();
  const std::vector<Json> checkpoints = whole[0]->events("checkpoint");
  ASSERT_EQ(checkpoints.size(), 2U);
  // Nothing better comes after the first epoch; after the second nothing is left to train.
  change_state(checkpoints[0], [](Json& state) { state["best_fitness"] = 1; });
  for (const Json& checkpoint : checkpoints) {
    const std::string name = "resumed-" + checkpoint["step"].dump();
    const auto resumed = start(config(name, [&](Json& json) { json["resume"] = {{"dir", checkpoint["dir"]}}; }), 1);
    ASSERT_EQ(resumed[0]->wait(), 0) << resumed[0]->events().back();
    EXPECT_EQ(told_files(*resumed[0]), told_files(*whole[0])) << name;

    const auto same_bytes = [](const std::filesystem::path& a, const std::filesystem::path& b) {
      return testing::read_file(a) == testing::read_file(b);
    };
    const std::filesystem::path weights = folder_ / name / "weights";
    const std::string saved = checkpoint["dir"];
    EXPECT_TRUE(same_bytes(weights / "best.safetensors", saved + "/best.safetensors")) << name;
    EXPECT_TRUE(same_bytes(weights / "last.safetensors", folder_ / "whole/weights/last.safetensors")) << name;
    const std::vector<std::string> rows = lines_of(folder_ / name / "results.csv");
    const std::vector<std::string> expected = lines_of(folder_ / "whole/results.csv");
    ASSERT_EQ(rows.size(), 3U) << name;
    EXPECT_EQ(rows[1], expected.at(1)) << "the epoch before the restart";
  }
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
  const std::vector<Json> warnings = skips[0]->events("warning");
  ASSERT_EQ(warnings.size(), 4U);
  EXPECT_EQ(warnings[0]["code"], "skipped_step");
  EXPECT_NE(skips[0]->events().back()["message"].get<std::string>().find("5 steps in a row"), std::string::npos);
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

TEST_F(TrainProcess, AnOrphanEnds) {
  const auto ranks = start(config("orphan", [](Json& json) { json["train"]["epochs"] = 1000; }), 1);
  ASSERT_FALSE(ranks[0]->wait_for_type("step").is_null());
  ranks[0]->close_control();
  EXPECT_EQ(ranks[0]->wait(), code(ExitCode::orphaned));
}

TEST_F(TrainProcess, WrongInputEndsWithItsOwnCode) {
  const auto ends_with = [&](const std::string& name, const std::function<void(Json&)>& change, ExitCode expected,
                             const std::string& text) {
    const auto ranks = start(config(name, change), 1);
    EXPECT_EQ(ranks[0]->wait(), code(expected)) << name;
    const Json end = ranks[0]->events().back();
    EXPECT_EQ(end["type"], "end") << name;
    EXPECT_EQ(end["reason"], name_of(expected)) << name;
    EXPECT_NE(end["message"].get<std::string>().find(text), std::string::npos) << end;
  };
  ends_with("typo", [](Json& json) { json["train"]["epoch"] = 3; }, ExitCode::bad_config, "did you mean `epochs`?");
  ends_with("model", [](Json& json) { json["model"]["arch"] = "yolov8q"; }, ExitCode::bad_config, "yolov8q");
  ends_with("classes", [](Json& json) { json["model"]["nc"] = 9; }, ExitCode::bad_config, "3 classes");
  ends_with("frozen", [](Json& json) { json["train"]["freeze"] = Json::array({"backbone"}); }, ExitCode::bad_config,
            "nothing called backbone");
  ends_with("smoothed", [](Json& json) { json["train"]["label_smoothing"] = 0.1; }, ExitCode::bad_config,
            "only YOLOv5's loss smooths labels");
  ends_with("data", [&](Json& json) { json["data"]["index"] = (folder_ / "none.json").string(); }, ExitCode::bad_data,
            "none.json");
  ends_with("weights", [&](Json& json) { json["model"]["weights"] = (folder_ / "data/index.json").string(); },
            ExitCode::bad_config, "model.weights");
  ends_with("checkpoint", [](Json& json) { json["model"]["weights"] = "yolov8n.pt"; }, ExitCode::bad_config,
            "model.weights: yolov8n.pt: is a PyTorch checkpoint; make it into weights first: tenfold-trainer import yolov8n.pt");
  std::filesystem::create_directories(folder_ / "broken");
  testing::write_file(folder_ / "broken/state.json", std::string("{\"format\":1}"));
  ends_with("resume", [&](Json& json) { json["resume"] = {{"dir", (folder_ / "broken").string()}}; },
            ExitCode::bad_checkpoint, "broken");
  ends_with("in-the-way", [&](Json& json) { json["run"]["dir"] = (folder_ / "broken/state.json").string(); },
            ExitCode::bad_config, "state.json cannot be a folder: it is a file");
}

TEST_F(TrainProcess, WordsOverrideAConfigAndAreRefusedAsItsFieldsAre) {
  TrainerProcess shorter({"train", config("words"), "epochs=1", "checkpoint.every.steps=2"}, {{"OMP_NUM_THREADS", "1"}});
  EXPECT_EQ(shorter.wait(), 0);
  EXPECT_EQ(shorter.events("epoch").size(), 1U);
  EXPECT_EQ(shorter.events("checkpoint").at(0)["step"], 2);

  const auto end_of = [](const std::vector<std::string>& words, ExitCode expected) {
    TrainerProcess trainer(words, {{"OMP_NUM_THREADS", "1"}});
    EXPECT_EQ(trainer.wait(), code(expected));
    return trainer.events().back()["message"].get<std::string>();
  };
  EXPECT_TRUE(mentions(end_of({"train", config("unknown"), "epoch=1"}, ExitCode::usage), "did you mean `epochs`?"));
  EXPECT_TRUE(mentions(end_of({"train", config("wrong"), "epochs=0"}, ExitCode::bad_config), "train.epochs: must be"));
  EXPECT_TRUE(mentions(end_of({"train", "model=yolov8n"}, ExitCode::bad_config), "data=data.yaml"));
}

TEST_F(TrainProcess, WeightsThatFitNoConvolutionAreRefused) {
  // As those of a yolov8x fit a yolov8n: in counters, the DFL's bins and biases alone.
  NamedTensors others;
  for (const auto& [name, tensor] : named_state(*testing::lively_detector("yolov8n", 3))) {
    const bool kernel = tensor.dim() == 4 && name != "model.22.dfl.conv.weight";
    others.emplace_back(name, kernel ? at::zeros({7, 7, 1, 1}) : tensor);
  }
  write_safetensors(folder_ / "others.safetensors", others, {{"arch", "yolov8x"}});
  const auto ranks = start(config("refused", [&](Json& json) {
    json["model"]["weights"] = (folder_ / "others.safetensors").string();
  }), 1);
  EXPECT_EQ(ranks[0]->wait(), code(ExitCode::bad_config));
  const std::string message = ranks[0]->events().back()["message"];
  EXPECT_TRUE(testing::mentions(message, "others.safetensors (weights of yolov8x) fits none of the 63 convolutions of yolov8n"))
      << message;
}

TEST_F(TrainProcess, WeightsOfWhichFewFitAreWarnedOfWithTheirCounts) {
  const auto poor_fits = [](TrainerProcess& rank) {
    std::vector<Json> told = rank.events("warning");
    std::erase_if(told, [](const Json& warning) { return warning["code"] != "poor_fit"; });
    return told;
  };
  const auto told_of = [&](const std::string& arch) {
    testing::write_detector(folder_ / (arch + ".safetensors"), *testing::lively_detector(arch, 3), arch,
                            {"red", "green", "blue"}, 64);
    const auto ranks = start(config("from-" + arch, [&](Json& json) {
      json["model"]["weights"] = (folder_ / (arch + ".safetensors")).string();
      json["train"]["epochs"] = 1;
    }), 2);
    for (const auto& rank : ranks) EXPECT_EQ(rank->wait(), 0) << rank->events().back();
    EXPECT_TRUE(poor_fits(*ranks[1]).empty());
    return poor_fits(*ranks[0]);
  };
  // Both have 64 channels within the branches for boxes, on three scales.
  const std::vector<Json> told = told_of("yolov8s");
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(testing::mentions(told[0]["message"], "(weights of yolov8s) fits only 6 of the 63 convolutions of yolov8n"))
      << told[0];
  EXPECT_TRUE(told_of("yolov8n").empty());
}

TEST_F(TrainProcess, AnswersQuestionsAndRefusesNonsense) {
  const auto expect_answer = [](const std::vector<std::string>& arguments, int exit_code, const std::string& text) {
    TrainerProcess trainer(arguments, {});
    EXPECT_EQ(trainer.wait(), exit_code);
    EXPECT_NE(trainer.output().find(text), std::string::npos) << trainer.output();
  };
  expect_answer({"--version"}, 0, "LibTorch");
  expect_answer({"--help"}, 0, "exit codes:");
  expect_answer({"inspect", "yolov8n"}, 0, "3157200");
  expect_answer({"fly"}, code(ExitCode::usage), "unknown command `fly`");
  expect_answer({"train"}, code(ExitCode::usage), "train needs a config file, or words such as data=data.yaml");
  expect_answer({}, code(ExitCode::usage), "no command");
}

}  // namespace
}  // namespace tenfold
