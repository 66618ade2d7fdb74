#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "collective.h"
#include "exit_code.h"
#include "free_port.h"
#include "on_ranks.h"

namespace tenfold {
namespace {

using ::tenfold::testing::free_port;

using ::tenfold::testing::on_threads;

struct Exchange {
  int ranks = 2;
  bool one_host = true;
  GradientCompression compression = GradientCompression::none;
};

/// The means over the ranks of gradients (1 + rank) * w, after passes with w and then 2 w, 3 w, …: by rank.
std::vector<at::Tensor> mean_gradients(const Exchange& exchange, const at::Tensor& w, int passes) {
  std::vector<at::Tensor> gradients(static_cast<size_t>(exchange.ranks));
  on_threads(exchange.ranks, [&](Rendezvous rendezvous) {
    if (!exchange.one_host) rendezvous.local_world_size = 1;
    const auto ranks = join(rendezvous);
    // The first is the last whose gradient comes, in a bucket of its own.
    const at::Tensor p = at::zeros_like(w).set_requires_grad(true), q = at::zeros({1'000'000}).set_requires_grad(true);
    const auto exchanged = ranks->exchange_gradients({q, p}, {"q", "p"}, exchange.compression);
    for (int pass = 1; pass <= passes; ++pass) {
      p.mutable_grad().reset();
      q.mutable_grad().reset();
      exchanged->before_forward();
      exchanged->backward(((p * w).sum() + q.sum()) * (1 + ranks->rank()) * pass);
      EXPECT_TRUE(at::allclose(q.grad(), at::full_like(q, (1 + exchange.ranks) / 2.0 * pass), 0.01));
    }
    gradients[static_cast<size_t>(ranks->rank())] = p.grad().clone();
  });
  return gradients;
}

TEST(GradientExchange, MeansAreTheSameOnAllRanksInSharedMemoryAndOverConnections) {
  at::manual_seed(1);
  const at::Tensor w = at::randn({100'003});
  for (const int ranks : {2, 3}) {
    const auto in_memory = mean_gradients({.ranks = ranks}, w, 4);
    const auto connected = mean_gradients({.ranks = ranks, .one_host = false}, w, 4);
    for (const at::Tensor& mean : in_memory) EXPECT_TRUE(mean.equal(in_memory[0])) << "replicas differ";
    EXPECT_TRUE(at::allclose(in_memory[0], w * ((1 + ranks) / 2.0 * 4), 1e-5));
    EXPECT_TRUE(at::allclose(in_memory[0], connected[0], 1e-6));
  }
}

TEST(GradientExchange, CompressedGradientsAreTheMeanRoundedToBfloat16OnAllRanks) {
  at::manual_seed(1);
  const at::Tensor w = at::randn({100'000});
  const auto exact = mean_gradients({}, w, 3);
  const auto compressed = mean_gradients({.compression = GradientCompression::bf16}, w, 3);
  EXPECT_TRUE(at::allclose(exact[0], w * 4.5, 1e-6));
  EXPECT_TRUE(compressed[0].equal(compressed[1])) << "replicas differ";
  EXPECT_TRUE(compressed[0].equal(compressed[0].to(at::kBFloat16).to(at::kFloat)));
  const double worst = ((compressed[0] - exact[0]).abs() / exact[0].abs()).max().item<double>();
  EXPECT_GT(worst, 0) << "nothing was compressed";
  EXPECT_LT(worst, 0.01) << "two roundings to 8 bits";
}

/// Two ranks in one process, of which one never comes to the collective that the other waits in.
TEST(Stall, IsToldToAllRanksWithTheCollectivesNameItsNumberAndWhoIsMissing) {
  const int port = free_port();
  std::mutex mutex;
  std::condition_variable told;
  std::array<std::string, 2> verdicts;
  const auto start = [&](int rank) {
    return join({.port = port, .rank = rank, .world_size = 2, .generation = 9, .timeout = std::chrono::seconds(1)},
                [&, rank](const std::string& verdict) {
                  const std::lock_guard lock(mutex);
                  verdicts[static_cast<size_t>(rank)] = verdict;
                  told.notify_all();
                });
  };
  std::thread busy([&] {
    const auto ranks = start(1);
    ranks->sum(at::ones({1}), "first");
    std::unique_lock lock(mutex);
    told.wait(lock, [&] { return !verdicts[0].empty() && !verdicts[1].empty(); });
  });
  const auto ranks = start(0);
  ranks->sum(at::ones({1}), "first");
  try {
    ranks->sum(at::ones({1}), "second");
    ADD_FAILURE() << "nobody was missed";
  } catch (const TrainerError& error) {
    EXPECT_NE(std::string(error.what()).find("collective 2 (second)"), std::string::npos) << error.what();
  }
  busy.join();
  for (const std::string& verdict : verdicts) {
    EXPECT_TRUE(verdict.starts_with("collective 2 (second) did not finish: rank 1 is missing (is past collective 1 (first) "
                                    "since "))
        << verdict;
  }
}

}  // namespace
}  // namespace tenfold
