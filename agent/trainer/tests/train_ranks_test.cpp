// What ranks do to each other: real trainer processes that learn together, stall, die, or never meet.
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>

#include "train_process.h"

namespace tenfold {
namespace {

using ::tenfold::testing::code;
using ::tenfold::testing::free_port;
using ::tenfold::testing::Json;
using ::tenfold::testing::losses_of;
using ::tenfold::testing::rank_environment;
using ::tenfold::testing::TrainerProcess;

class TrainRanks : public ::tenfold::testing::TrainProcess {};

TEST_F(TrainRanks, ASurvivorLeavesWhenItsPeerIsKilled) {
  const auto many_epochs = [](Json& json) { json["train"]["epochs"] = 1000; };
  const auto ranks = start(config("killed", many_epochs), 2);
  // Once, in the second step, rank 0 sends the order of the buckets and hears nothing back. Lost right then, Gloo may tell of
  // it only by the limit of time.
  const auto is_later = [](const Json& event) { return event["type"] == "step" && event["step"].get<int>() > 2; };
  for (const auto& rank : ranks) ASSERT_FALSE(rank->wait_for(is_later).is_null());
  ranks[1]->signal(SIGKILL);
  EXPECT_EQ(ranks[1]->wait(), 128 + SIGKILL);
  EXPECT_EQ(ranks[0]->wait(), code(ExitCode::peer_lost));
  EXPECT_EQ(ranks[0]->events().back()["type"], "end");
  EXPECT_EQ(ranks[0]->events().back()["reason"], "peer_lost");
  const std::string message = ranks[0]->events().back()["message"];
  EXPECT_TRUE(message.starts_with("collective ")) << message;
  EXPECT_NE(message.find("): another rank went away: "), std::string::npos) << message;
  for (const char* of_gloo : {".cc:", "GLHF"}) EXPECT_EQ(message.find(of_gloo), std::string::npos) << message;
}

TEST_F(TrainRanks, TwoOfOneHostShareMemoryAndHaveTheLossesOfTwoHosts) {
  const auto together = start(config("together"), 2);
  ASSERT_FALSE(together[0]->wait_for_type("step").is_null());
  for (const auto& rank : together) EXPECT_EQ(rank->mappings("memfd:tenfold-gradients"), 2) << "its own and the other's";
  const auto apart = start(config("apart"), 2, /*one_host=*/false);
  ASSERT_FALSE(apart[0]->wait_for_type("step").is_null());
  for (const auto& rank : apart) EXPECT_EQ(rank->mappings("memfd:tenfold-gradients"), 0);
  for (const auto* world : {&together, &apart}) {
    for (const auto& rank : *world) EXPECT_EQ(rank->wait(), code(ExitCode::completed)) << rank->output();
  }
  EXPECT_EQ(losses_of(together), losses_of(apart));
}

TEST_F(TrainRanks, AStoppedRankIsNamedByAllOthersWithTheCollectiveThatTheyWaitIn) {
  for (const size_t stopped : {size_t{1}, size_t{0}}) {  // rank 0 keeps the store by which the others call the roll
    const std::string name = "stalled-" + std::to_string(stopped);
    const auto ranks = start(config(name,
                                    [](Json& json) {
                                      json["train"]["epochs"] = 1000;
                                      json["collective"]["timeout_s"] = 2;
                                    }),
                             3);
    for (const auto& rank : ranks) ASSERT_FALSE(rank->wait_for_type("step").is_null());
    ranks[stopped]->signal(SIGSTOP);
    const std::string missing = "did not finish: rank " + std::to_string(stopped) + " is missing (does not answer";
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      if (rank == stopped) continue;
      EXPECT_EQ(ranks[rank]->wait(), code(ExitCode::collective_timeout)) << name;
      const Json end = ranks[rank]->events().back();
      EXPECT_EQ(end["reason"], "collective_timeout");
      const std::string message = end["message"];
      EXPECT_TRUE(message.starts_with("collective ")) << message;
      EXPECT_NE(message.find(missing), std::string::npos) << message;
    }
  }
}

/// The losses of every step: the mean over the ranks, item by item.
std::vector<std::vector<double>> loss_curve(const std::vector<std::unique_ptr<TrainerProcess>>& ranks) {
  std::vector<std::vector<double>> curve;
  for (const auto& [step, losses] : losses_of(ranks)) {
    std::vector<double> mean;
    for (const Json& items : losses) {
      mean.resize(items.size());
      for (size_t i = 0; i < items.size(); ++i) mean[i] += items[i]["value"].get<double>() / static_cast<double>(losses.size());
    }
    curve.push_back(mean);
  }
  return curve;
}

/// The mean of item `item` over `count` steps from `first` on.
double mean_loss(const std::vector<std::vector<double>>& curve, size_t first, size_t count, size_t item) {
  double sum = 0;
  for (size_t step = first; step < first + count; ++step) sum += curve.at(step).at(item);
  return sum / static_cast<double>(count);
}

// One rank and two add the same numbers up in another order. A fresh network multiplies such rounding step by step, as it
// does that of another number of threads: so single steps are compared at the beginning, and means later on.
TEST_F(TrainRanks, OneRankAndTwoWithSharedStatisticsLearnAlikeForAHundredSteps) {
  const auto hundred_steps = [](Json& json) {
    json["train"].update({{"epochs", 50}, {"batch", 8}, {"imgsz", 96}, {"amp", "off"}, {"sync_bn", true}, {"val", false},
                          {"lr0", 1e-4}, {"warmup_epochs", 0}});
  };
  const auto one = start(config("one", hundred_steps), 1);
  EXPECT_EQ(one[0]->wait(), 0) << one[0]->events().back();
  const auto two = start(config("two", hundred_steps), 2);
  for (const auto& rank : two) EXPECT_EQ(rank->wait(), 0) << rank->events().back();
  const auto expected = loss_curve(one), actual = loss_curve(two);
  ASSERT_EQ(expected.size(), 100U);
  ASSERT_EQ(actual.size(), expected.size());
  const auto expect_near = [&](size_t first, size_t count, double tolerance) {
    for (size_t item = 0; item < 3; ++item) {
      const double mean = mean_loss(expected, first, count, item);
      EXPECT_LT(std::abs(mean_loss(actual, first, count, item) - mean) / mean, tolerance)
          << "item " << item << " of steps " << first + 1 << " to " << first + count;
    }
  };
  for (size_t step = 0; step < 5; ++step) expect_near(step, 1, 1e-3);
  for (size_t step = 0; step < 100; step += 20) expect_near(step, 20, 0.05);
}

TEST_F(TrainRanks, TrainsWithCompressedGradientsAndAnEpochsLastSliceEmpty) {
  const auto compressed = [](Json& json) {
    json["train"].update({{"batch", 9}, {"grad_compression", "bf16"}, {"sync_bn", "on"}, {"device_batch", 2}});
  };
  const auto ranks = start(config("compressed", compressed), 3);  // the last batch has two pictures
  for (const auto& rank : ranks) EXPECT_EQ(rank->wait(), 0) << rank->events().back();
  ASSERT_EQ(ranks[0]->events("epoch").size(), 2U);
  for (const Json& item : ranks[0]->events("epoch")[1]["val"]) EXPECT_TRUE(item["value"].is_number()) << item;
}

TEST_F(TrainRanks, RanksThatNeverMeetEnd) {
  const std::string file = config("alone", [](Json& json) { json["collective"]["timeout_s"] = 0.3; });
  TrainerProcess rank({"train", file}, rank_environment(1, 2, free_port()));
  EXPECT_EQ(rank.wait(), code(ExitCode::rendezvous_failed));
  EXPECT_EQ(rank.events().back()["reason"], "rendezvous_failed");
}

}  // namespace
}  // namespace tenfold
