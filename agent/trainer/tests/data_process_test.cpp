// The data path in real trainer processes: caches, rectangles, and images that cannot be read.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "data_fixtures.h"
#include "free_port.h"
#include "trainer_process.h"

namespace tenfold {
namespace {

using testing::TemporaryFolder;
using testing::TrainerProcess;
using Json = nlohmann::json;
using Ranks = std::vector<std::unique_ptr<TrainerProcess>>;

constexpr int kPictures = 9;
constexpr int kDamaged = 4;

using Samples = std::vector<testing::ShardSample>;

Samples scenes() {
  Samples samples;
  for (int i = 0; i < kPictures; ++i) {
    const Label label{i % 2, 0.4F + 0.02F * static_cast<float>(i), 0.5F, 0.5F, 0.6F};
    samples.push_back(testing::scene_sample("images/train/" + std::to_string(i) + ".jpg", 90, 60, {label}));
  }
  return samples;
}

void damage(testing::ShardSample& sample) { sample.file.resize(sample.file.size() / 2); }

class DataProcess : public ::testing::Test {
 protected:
  DataProcess() {
    Samples samples = scenes();
    write("sound", samples, {samples[0], samples[1]});
    damage(samples[kDamaged]);
    write("damaged", samples, {samples[0], samples[1]});
  }

  void write(const std::string& name, const Samples& train, const Samples& val) {
    testing::write_shards(folder_ / name, {"red", "green"}, {{"train", {train}}, {"val", {val}}});
  }

  Json shards(const std::string& name) const {
    const std::filesystem::path folder = folder_ / name;
    return {{"kind", "shards"}, {"index", (folder / "index.json").string()}, {"dir", folder.string()}};
  }

  /// Trains two epochs of the shards `data` on `world` ranks to the end.
  Ranks train(const std::string& data, int world, const Json& changes) { return train_on(shards(data), world, changes); }

  Ranks train_on(const Json& data, int world, const Json& changes) {
    const std::string run = "run-" + std::to_string(runs_++);
    Json train = {{"epochs", 2}, {"batch", 4}, {"imgsz", 64}, {"close_mosaic", 1}, {"workers", 1}, {"amp", "off"}};
    train.update(changes);
    const Json config = {
        {"run", {{"dir", (folder_ / run).string()}}},
        {"data", data},
        {"train", train},
        {"progress", {{"interval_ms", 0}}}};
    testing::write_file(folder_ / (run + ".json"), config.dump());
    const int port = testing::free_port();
    Ranks ranks;
    for (int rank = 0; rank < world; ++rank) {
      auto environment = testing::rank_environment(rank, world, port);
      environment["XDG_CACHE_HOME"] = (folder_ / "cache").string();
      ranks.push_back(std::make_unique<TrainerProcess>(
          std::vector<std::string>{"train", (folder_ / (run + ".json")).string()}, environment));
    }
    for (const auto& rank : ranks) EXPECT_EQ(rank->wait(), 0) << rank->output();
    return ranks;
  }

  std::string args_of_last_run() const {
    const auto content = testing::read_file(folder_ / ("run-" + std::to_string(runs_ - 1)) / "args.yaml");
    return {content.begin(), content.end()};
  }

  size_t kept_pictures() const {
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "cache/tenfold/pictures"))
      files += entry.is_regular_file();
    return files;
  }

  TemporaryFolder folder_;
  int runs_ = 0;
};

std::vector<Json> losses(const Ranks& ranks) {
  std::vector<Json> losses;
  for (const Json& event : ranks[0]->events("step")) losses.push_back(event["loss"]);
  return losses;
}

TEST_F(DataProcess, ACorruptImageIsNamedCountedAndConsumed) {
  const Ranks ranks = train("damaged", 2, Json::object());
  std::map<int64_t, int> consumed;
  std::set<std::string> named;
  for (const auto& rank : ranks) {
    for (const Json& event : rank->events("consumed"))
      for (const Json& id : event["ids"]) ++consumed[id.get<int64_t>()];
    for (const Json& event : rank->events("warning"))
      if (event["code"] == "corrupt_image") named.insert(event["subject"].get<std::string>());
  }
  EXPECT_EQ(named, (std::set<std::string>{"images/train/4.jpg"}));
  EXPECT_EQ(consumed.size(), static_cast<size_t>(kPictures));
  for (const auto& [id, times] : consumed) EXPECT_EQ(times, 2) << id;
  EXPECT_EQ(ranks[0]->events("epoch").at(1)["corrupt_images"], 1);
}

TEST_F(DataProcess, ObjectsOfAValidationPictureThatCannotBeReadAreMissed) {
  const Samples samples = scenes();
  Samples val{samples[0], samples[1]};
  damage(val[1]);
  write("damaged-val", samples, val);
  const Ranks ranks = train("damaged-val", 2, {{"epochs", 1}});
  std::vector<std::string> named;
  for (const auto& rank : ranks)
    for (const Json& event : rank->events("warning")) named.push_back(event["message"].get<std::string>());
  ASSERT_EQ(named.size(), 1U);
  EXPECT_TRUE(testing::mentions(named[0], "images/train/1.jpg: JPEG")) << named[0];
  EXPECT_TRUE(testing::mentions(named[0], "; its objects count as missed")) << named[0];
  const Json evaluation = ranks[0]->events("evaluation").at(0);
  EXPECT_EQ(evaluation["images"], 2);
  EXPECT_EQ(evaluation["labels"], 2);
}

TEST_F(DataProcess, LabelsThatWereLeftOutAreToldByTheFirstRankOfEachSplit) {
  const std::string box = "0 0.5 0.5 0.4 0.4\n";
  for (const std::string split : {"train", "val"}) {
    testing::write_file(folder_ / ("yolo/images/" + split + "/a.jpg"), scenes()[0].file);
    testing::write_file(folder_ / ("yolo/labels/" + split + "/a.txt"), box + box);
  }
  testing::write_file(folder_ / "yolo/data.yaml",
                      std::string("train: images/train\nval: images/val\nnames: [red, green]\n"));
  const Ranks ranks = train_on({{"kind", "yaml"}, {"path", (folder_ / "yolo/data.yaml").string()}}, 2, {{"epochs", 1}});
  const std::vector<Json> told = ranks[0]->events("warning");
  ASSERT_EQ(told.size(), 2U);
  for (const Json& event : told) EXPECT_EQ(event["code"], "labels_left_out");
  EXPECT_TRUE(testing::mentions(told[0]["message"], "1 label was left out: "));
  EXPECT_TRUE(testing::mentions(told[0]["message"], "labels/train/a.txt: line 2: the same box again"));
  EXPECT_TRUE(testing::mentions(told[1]["message"], "labels/val/a.txt: line 2: the same box again"));
  EXPECT_TRUE(ranks[1]->events("warning").empty());
}

TEST_F(DataProcess, KeepingPicturesInFilesChangesNothing) {
  const auto plain = losses(train("sound", 1, {{"cache", false}}));
  EXPECT_EQ(losses(train("sound", 1, {{"cache", "disk"}})), plain);
  EXPECT_EQ(kept_pictures(), static_cast<size_t>(kPictures));  // the two of the validation have the same content
  EXPECT_EQ(losses(train("sound", 1, {{"cache", "disk"}})), plain);  // another run finds them
}

TEST_F(DataProcess, ACacheFolderThatTakesNothingIsToldOnceAndChangesNothing) {
  constexpr const char* kDigits = "0123456789abcdef";
  for (int i = 0; i < 256; ++i)  // a file where each of its folders should be
    testing::write_file(folder_ / "cache/tenfold/pictures" / std::string{kDigits[i / 16], kDigits[i % 16]}, std::string("x"));
  const Ranks ranks = train("sound", 1, {{"cache", "disk"}});
  const std::vector<Json> told = ranks[0]->events("warning");
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0]["code"], "cache_off");
  EXPECT_TRUE(testing::mentions(told[0]["message"], (folder_ / "cache/tenfold/pictures").string() + ": cannot be written to: "))
      << told[0]["message"];
  EXPECT_EQ(losses(ranks), losses(train("sound", 1, {{"cache", false}})));
}

TEST_F(DataProcess, RectanglesTrainAndValidate) {
  const Ranks two = train("sound", 2, {{"rect", true}});
  EXPECT_EQ(two[0]->events("epoch").size(), 2U);
  EXPECT_TRUE(testing::mentions(args_of_last_run(), "rect: true"));
  EXPECT_TRUE(two[0]->events("epoch").at(1)["metrics"].contains("map50"));
}

}  // namespace
}  // namespace tenfold
