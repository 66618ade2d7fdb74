#include "run_record.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <fstream>
#include <mutex>

#include "data_fixtures.h"
#include "evaluate.h"
#include "metrics_report.h"

namespace tenfold {
namespace {

using testing::TemporaryFolder;

class Collected final : public EventSink {
 public:
  void emit(const Event& event) override {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
  }
  void flush() override {}

  /// Names of the files that were told, in order.
  std::vector<std::string> artifacts() {
    std::vector<std::string> names;
    for (const auto& event : all<ArtifactEvent>()) names.push_back(event.file.name);
    return names;
  }
  template <typename Wanted>
  std::vector<Wanted> all() {
    const std::lock_guard lock(mutex_);
    std::vector<Wanted> wanted;
    for (const Event& event : events_)
      if (const auto* found = std::get_if<Wanted>(&event)) wanted.push_back(*found);
    return wanted;
  }

 private:
  std::mutex mutex_;
  std::vector<Event> events_;
};

EpochRow epoch_row(int64_t epoch) {
  EpochRow row;
  row.epoch = epoch;
  row.time_s = 10 * static_cast<double>(epoch);
  row.metrics = MetricSummary{0.5, 0.4, 0.3, 0.2};
  row.train = {{"box", 3}, {"cls", 2}, {"dfl", 1}};
  row.val = row.train;
  return row;
}

/// Two classes, of which one is found and one missed.
Metrics small_metrics() {
  Evaluator evaluator(2);
  evaluator.add_image(0, at::tensor({0.0F, 0.0F, 10.0F, 10.0F, 0.9F, 0.0F}).view({1, 6}),
                      at::tensor({0.0F, 0.0F, 0.0F, 10.0F, 10.0F, 1.0F, 20.0F, 20.0F, 30.0F, 30.0F}).view({2, 5}));
  evaluator.add_image(1, at::zeros({0, 6}), at::zeros({0, 5}));
  return evaluator.compute();
}

class RunRecordTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  Collected events_;
  std::unique_ptr<BackgroundWriter> writer_ = std::make_unique<BackgroundWriter>();
  RunRecord record_{folder_ / "run", {"cat", "dog"}, *writer_, events_};

  bool has(const std::string& name) const { return std::filesystem::exists(folder_ / "run" / name); }
  void TearDown() override { writer_.reset(); }  // before the record that its jobs use
};

TEST_F(RunRecordTest, KeepsEverythingThatTheConventionsNameAndTellsOfEachFileOnce) {
  const Dataset data = testing::scenes_dataset(folder_ / "data", 8);
  record_.begin("epochs: 2\n", data);
  Batch batch;
  batch.images = at::zeros({2, 3, 32, 32}, at::kByte);
  batch.targets = at::tensor({0.0F, 1.0F, 0.5F, 0.5F, 0.2F, 0.2F}).view({1, 6});
  int drawn = 0;
  for (; record_.wants_training_batch(); ++drawn) record_.training_batch(batch);
  EXPECT_EQ(drawn, 3);
  record_.epoch({epoch_row(1)});
  record_.epoch({epoch_row(1), epoch_row(2)});
  record_.evaluation(small_metrics(), 2);
  record_.finish({epoch_row(1), epoch_row(2)});

  for (const auto& warning : events_.all<WarningEvent>()) ADD_FAILURE() << warning.message;
  std::vector<std::string> told = events_.artifacts();
  std::sort(told.begin(), told.end());
  EXPECT_EQ(std::unique(told.begin(), told.end()), told.end());
  ASSERT_FALSE(told.empty());
  std::erase_if(told, [](const std::string& name) { return name.starts_with("events.out.tfevents."); });
  EXPECT_EQ(told, (std::vector<std::string>{"BoxF1_curve.png", "BoxPR_curve.png", "BoxP_curve.png", "BoxR_curve.png",
                                            "args.yaml", "confusion_matrix.png", "confusion_matrix_normalized.png",
                                            "labels.jpg", "metrics.json", "results.csv", "results.png",
                                            "train_batch0.jpg", "train_batch1.jpg", "train_batch2.jpg"}));
  for (const auto& artifact : events_.all<ArtifactEvent>())
    EXPECT_EQ(std::filesystem::file_size(folder_ / "run" / artifact.file.name), static_cast<uintmax_t>(artifact.file.bytes));
}

TEST_F(RunRecordTest, PicturesOfTheDataAreToldAtOnceSoThatTheyCanBeLookedAtDuringTheTraining) {
  record_.begin("", testing::scenes_dataset(folder_ / "data", 8));
  writer_->wait();
  EXPECT_EQ(events_.artifacts(), (std::vector<std::string>{"args.yaml", "labels.jpg"}));
}

TEST_F(RunRecordTest, WhatCannotBeDrawnIsAWarningAndTheRestIsWritten) {
  std::filesystem::create_directories(folder_ / "run/BoxF1_curve.png");  // a folder is in the way
  std::filesystem::create_directories(folder_ / "run/results.png");
  record_.epoch({epoch_row(1)});
  record_.evaluation(small_metrics(), 1);
  writer_->wait();
  const auto warnings = events_.all<WarningEvent>();
  ASSERT_EQ(warnings.size(), 2U);
  for (const auto& warning : warnings) EXPECT_EQ(warning.code, "not_drawn");
  EXPECT_EQ(warnings[0].subject, "results.png");
  EXPECT_EQ(warnings[1].subject, "BoxF1_curve.png");
  EXPECT_TRUE(has("results.csv"));
  EXPECT_TRUE(has("BoxR_curve.png"));
  EXPECT_TRUE(has("confusion_matrix.png"));
}

TEST(MetricsReport, SaysWhatWasFoundOverallAndClassByClass) {
  const auto json = nlohmann::json::parse(metrics_json(small_metrics(), 7, {"cat", "dog"}));
  EXPECT_EQ(json["epoch"], 7);
  EXPECT_EQ(json["images"], 2);
  EXPECT_EQ(json["background_images"], 1);
  EXPECT_EQ(json["mAP50"], 0.5);
  ASSERT_EQ(json["classes"].size(), 2U);
  EXPECT_EQ(json["classes"][0]["name"], "cat");
  EXPECT_EQ(json["classes"][0]["AP50-95"], 1);
  EXPECT_EQ(json["classes"][1]["recall"], 0);
  EXPECT_EQ(json["confusion_matrix"]["by_predicted_then_actual"],
            nlohmann::json::parse("[[1, 0, 0], [0, 0, 0], [0, 1, 0]]"));
  const EvaluationEvent event = evaluation_event(small_metrics(), 7, {"cat", "dog"});
  EXPECT_EQ(event.classes[1].name, "dog");
  EXPECT_EQ(event.classes[0].metrics.map50_95, 1);
}

}  // namespace
}  // namespace tenfold
