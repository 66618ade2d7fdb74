// Real trainer processes that go on from a checkpoint.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "train_process.h"

namespace tenfold {
namespace {

using ::tenfold::testing::checkpoint_state;
using ::tenfold::testing::code;
using ::tenfold::testing::Json;
using ::tenfold::testing::kTrainPictures;
using ::tenfold::testing::losses_of;
using ::tenfold::testing::mentions;
using ::tenfold::testing::TrainerProcess;
using ::tenfold::testing::TrainProcess;

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

}  // namespace
}  // namespace tenfold
