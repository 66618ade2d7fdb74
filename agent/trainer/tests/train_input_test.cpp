// Real trainer processes, and what they say to what they are given: data, networks, weights, arguments.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "model.h"
#include "safetensors.h"
#include "test_detectors.h"
#include "train_process.h"

namespace tenfold {
namespace {

using ::tenfold::testing::code;
using ::tenfold::testing::Json;
using ::tenfold::testing::mentions;
using ::tenfold::testing::TrainerProcess;
using ::tenfold::testing::TrainProcess;

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
  EXPECT_TRUE(mentions(told["lr0"], "train.lr0 is 8.92857e-05 instead of 0.02: optimizer auto chose so")) << told["lr0"];
  EXPECT_TRUE(mentions(told["mixup"], "train.mixup is 0 instead of 0.25: rect")) << told["mixup"];
  const std::vector<uint8_t> file = testing::read_file(folder_ / "tuned" / "args.yaml");
  const std::string args(file.begin(), file.end());
  for (const char* line : {"\nmosaic: 0\n", "\nmixup: 0\n", "\noptimizer: AdamW\n"})
    EXPECT_TRUE(mentions(args, line)) << args;
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
