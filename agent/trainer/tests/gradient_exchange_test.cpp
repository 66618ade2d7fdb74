#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "collective.h"
#include "exit_code.h"
#include "free_port.h"
#include "on_ranks.h"

namespace tenfold {
namespace {

using ::tenfold::testing::free_port;
using ::tenfold::testing::on_ranks;

/// Means over two ranks of gradients 1 + rank times w, after several backward passes.
std::array<at::Tensor, 2> mean_gradients(GradientCompression compression, const at::Tensor& w, int passes) {
  std::array<at::Tensor, 2> gradients;
  on_ranks(2, [&](Communicator& ranks) {
    const at::Tensor p = at::zeros_like(w).set_requires_grad(true);
    const auto exchange = ranks.exchange_gradients({p}, {"p"}, compression);
    for (int pass = 0; pass < passes; ++pass) {
      p.mutable_grad().reset();
      exchange->before_forward();
      exchange->backward((p * w).sum() * (1 + ranks.rank()));
    }
    gradients[static_cast<size_t>(ranks.rank())] = p.grad().clone();
  });
  return gradients;
}

TEST(GradientExchange, CompressedGradientsAreTheMeanRoundedToBfloat16OnAllRanks) {
  at::manual_seed(1);
  const at::Tensor w = at::randn({100'000});
  const auto exact = mean_gradients(GradientCompression::none, w, 3);
  const auto compressed = mean_gradients(GradientCompression::bf16, w, 3);
  EXPECT_TRUE(at::allclose(exact[0], w * 1.5, 1e-6));
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
