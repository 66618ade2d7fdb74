#include "collective.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>

#include "exit_code.h"
#include "free_port.h"
#include "model.h"
#include "on_ranks.h"

namespace tenfold {
namespace {

using ::tenfold::testing::copy_of;
using ::tenfold::testing::free_port;
using ::tenfold::testing::gradients_of_slices;
using ::tenfold::testing::on_ranks;

TEST(Collective, OneRankAloneExchangesNothing) {
  const auto ranks = alone();
  EXPECT_EQ(ranks->world_size(), 1);
  EXPECT_EQ(ranks->sum(at::tensor({3.0})).item<double>(), 3.0);
  EXPECT_EQ(ranks->begin_max(at::tensor({3}))->wait().item<int>(), 3);
  EXPECT_EQ(ranks->gather_rows(at::ones({2, 5})).size(), 1U);
}

/// A name server that does not answer would hold up the meeting of ranks, for LibTorch asks for the names of addresses.
TEST(Collective, NobodyInThisProgramAsksForTheNameOfAnAddress) {
  sockaddr_in loopback{};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // What shared libraries call, too.
  const auto lookup = reinterpret_cast<decltype(&::getnameinfo)>(::dlsym(RTLD_DEFAULT, "getnameinfo"));
  ASSERT_NE(lookup, nullptr);
  std::array<char, NI_MAXHOST> host{};
  const auto* address = reinterpret_cast<const sockaddr*>(&loopback);
  ASSERT_EQ(lookup(address, sizeof(loopback), host.data(), host.size(), nullptr, 0, 0), 0);
  EXPECT_STREQ(host.data(), "127.0.0.1");
}

TEST(Collective, RanksSumAgreeBroadcastAndGather) {
  on_ranks(3, [](Communicator& ranks) {
    const double rank = ranks.rank();
    EXPECT_EQ(ranks.backend(), "gloo");
    EXPECT_EQ(ranks.sum(at::tensor({rank, 1.0})).sum().item<double>(), 0 + 1 + 2 + 3);
    EXPECT_EQ(ranks.begin_max(at::tensor({ranks.rank() == 1 ? 1 : 0}))->wait().item<int>(), 1);

    const at::Tensor weights = at::full({4}, rank);
    const at::Tensor counts = at::full({2}, ranks.rank(), at::kLong);
    ranks.broadcast({weights, counts});
    EXPECT_EQ(weights.sum().item<double>(), 0);
    EXPECT_EQ(counts.sum().item<int64_t>(), 0);

    const auto rows = ranks.gather_rows(at::full({ranks.rank(), 2}, rank));  // rank 0 has none
    ASSERT_EQ(rows.size(), 3U);
    for (int r = 0; r < 3; ++r) {
      EXPECT_EQ(rows[static_cast<size_t>(r)].size(0), r);
      EXPECT_TRUE((rows[static_cast<size_t>(r)] == r).all().item<bool>());
    }
  });
}

TEST(Collective, ARankCanLeaveAndJoinAnotherGeneration) {
  at::Tensor p0 = at::ones({2}).set_requires_grad(true);
  at::Tensor p1 = at::ones({2}).set_requires_grad(true);
  for (const int64_t generation : {1, 2}) {
    on_ranks(
        2,
        [&](Communicator& ranks) {
          at::Tensor& p = ranks.rank() == 0 ? p0 : p1;
          p.mutable_grad().reset();
          const auto exchange = ranks.exchange_gradients({p}, {"p"});
          exchange->before_forward();
          exchange->backward((p * (ranks.rank() + generation)).sum());
          EXPECT_DOUBLE_EQ(p.grad()[0].item<double>(), static_cast<double>(generation) + 0.5);
        },
        generation);
  }
}

TEST(Collective, NobodyAnswersUntilTheTimeout) {
  const auto start = [](int rank, int port) {
    return join({.port = port, .rank = rank, .world_size = 2, .timeout = std::chrono::milliseconds(300)});
  };
  for (const int rank : {0, 1}) {
    try {
      start(rank, free_port());
      FAIL() << "rank " << rank << " met somebody";
    } catch (const TrainerError& error) {
      EXPECT_EQ(error.code(), ExitCode::rendezvous_failed) << error.what();
    }
  }
}

/// Batch norms in eval mode, so that the gradients are those of the same function whatever the slices.
std::vector<at::Tensor> gradients(Communicator& ranks, Detector& model, const at::Tensor& images,
                                  const at::Tensor& targets) {
  model.eval();
  Batch batch;
  batch.images = images;
  batch.targets = targets;
  return gradients_of_slices(ranks, model, batch);
}

TEST(Collective, TwoRanksHaveTheGradientsOfOne) {
  at::manual_seed(3);
  const auto model = build_detector(load_model_spec("yolov8n"), 3);
  const at::Tensor images = at::rand({5, 3, 64, 64});
  at::Tensor targets = at::rand({9, 6}) * 0.4 + 0.3;
  targets.select(1, 0).copy_(at::tensor({0, 0, 1, 2, 2, 2, 3, 4, 4}));
  targets.select(1, 1).copy_(at::tensor({0, 1, 2, 0, 1, 2, 0, 1, 2}));

  const auto solo = copy_of(*model);
  const std::vector<at::Tensor> expected = gradients(*alone(), *solo, images, targets);
  const std::array<std::shared_ptr<Detector>, 2> replicas = {copy_of(*model), copy_of(*model)};
  std::array<std::vector<at::Tensor>, 2> actual;
  on_ranks(2, [&](Communicator& ranks) {
    const auto rank = static_cast<size_t>(ranks.rank());
    actual[rank] = gradients(ranks, *replicas[rank], images, targets);
  });
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(actual[0][i].equal(actual[1][i])) << "replicas differ in parameter " << i;
    const double scale = std::max(expected[i].abs().max().item<double>(), 1.0);
    EXPECT_LT((actual[0][i] - expected[i]).abs().max().item<double>() / scale, 1e-5) << "parameter " << i;
  }
}

}  // namespace
}  // namespace tenfold
