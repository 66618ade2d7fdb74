#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "collective.h"
#include "exit_code.h"
#include "free_port.h"
#include "on_ranks.h"
#include "process_maps.h"

namespace tenfold {
namespace {

using ::tenfold::testing::free_port;
using ::tenfold::testing::on_threads;

struct Exchange {
  int ranks = 2;
  /// Of them on this host, as each rank was told.
  std::vector<int> local_world_sizes = {2, 2};
  GradientCompression compression = GradientCompression::none;
};

/// Mappings of memory that ranks in this process share: their own and the other's.
int64_t shared_mappings() {
  return testing::mappings("self", "memfd:tenfold-gradients");
}

struct Means {
  std::vector<at::Tensor> of_rank;
  bool in_memory = false;
};

/// What every rank has of the mean of (1 + rank) * w over the ranks, times the number of the pass, after some passes.
Means mean_gradients(const Exchange& exchange, const at::Tensor& w, int passes) {
  Means means;
  means.of_rank.resize(static_cast<size_t>(exchange.ranks));
  on_threads(exchange.ranks, [&](Rendezvous rendezvous) {
    const auto rank = static_cast<size_t>(rendezvous.rank);
    rendezvous.local_world_size = exchange.local_world_sizes[rank];
    const auto ranks = join(rendezvous);
    // The gradient of the first comes last, in a bucket of its own.
    const at::Tensor p = at::zeros_like(w).set_requires_grad(true), q = at::zeros({1'000'000}).set_requires_grad(true);
    const auto exchanged = ranks->exchange_gradients({q, p}, {"q", "p"}, exchange.compression);
    ranks->sum(at::ones({1}));  // what was tried in vain is gone by then
    if (rank == 0) means.in_memory = shared_mappings() > 0;
    const auto loss = [&](int pass) { return ((p * w).sum() + q.sum()) * (1 + ranks->rank()) * pass; };
    for (int pass = 1; pass <= passes; ++pass) {
      p.mutable_grad().reset();
      q.mutable_grad().reset();
      exchanged->accumulate(loss(pass) / 2);
      exchanged->before_forward();
      exchanged->backward(loss(pass) / 2);
      EXPECT_TRUE(at::allclose(q.grad(), at::full_like(q, (1 + exchange.ranks) / 2.0 * pass), 0.01));
    }
    means.of_rank[rank] = p.grad().clone();
    ranks->sum(at::ones({1}));  // nobody may go while another looks for what is mapped
  });
  EXPECT_EQ(shared_mappings(), 0) << "left behind";
  return means;
}

TEST(GradientExchange, TwoRanksOfOneHostExchangeInMemoryWithTheBitsOfConnections) {
  at::manual_seed(1);
  const at::Tensor w = at::randn({100'003});
  const Means in_memory = mean_gradients({}, w, 4);
  const Means connected = mean_gradients({.local_world_sizes = {1, 1}}, w, 4);
  EXPECT_TRUE(in_memory.in_memory);
  EXPECT_FALSE(connected.in_memory);
  EXPECT_TRUE(at::allclose(in_memory.of_rank[0], w * 6, 1e-5));
  EXPECT_TRUE(in_memory.of_rank[0].equal(in_memory.of_rank[1])) << "replicas differ";
  EXPECT_TRUE(in_memory.of_rank[0].equal(connected.of_rank[0]));
}

TEST(GradientExchange, TwoRanksThatWereToldOtherwiseExchangeOverConnections) {
  const Means means = mean_gradients({.local_world_sizes = {2, 1}}, at::ones({10}), 2);
  EXPECT_FALSE(means.in_memory);
  for (const at::Tensor& mean : means.of_rank) EXPECT_TRUE(mean.equal(at::full({10}, 3.0)));
}

TEST(GradientExchange, OneRankAndThreeExchangeOverConnections) {
  for (const int ranks : {1, 3}) {
    const std::vector<int> local_world_sizes(static_cast<size_t>(ranks), ranks);
    const Means means = mean_gradients({.ranks = ranks, .local_world_sizes = local_world_sizes}, at::ones({10}), 2);
    EXPECT_FALSE(means.in_memory);
    for (const at::Tensor& mean : means.of_rank) EXPECT_TRUE(at::allclose(mean, at::full({10}, 1.0 + ranks)));
  }
}

TEST(GradientExchange, CompressedGradientsAreTheMeanRoundedToBfloat16OnAllRanks) {
  at::manual_seed(1);
  const at::Tensor w = at::randn({100'000});
  const auto exact = mean_gradients({}, w, 3).of_rank;
  const auto compressed = mean_gradients({.compression = GradientCompression::bf16}, w, 3).of_rank;
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
