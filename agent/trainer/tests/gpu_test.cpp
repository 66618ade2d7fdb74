// What only a GPU can show. Where there is none these tests say "skipped"; most others take a GPU where one is, by `auto`.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "convolution.h"
#include "data_fixtures.h"
#include "depthwise.h"
#include "device.h"
#include "device_feed.h"
#include "device_memory.h"
#include "gpu.h"
#include "on_ranks.h"
#include "postprocess.h"
#include "test_detectors.h"
#include "validate.h"

namespace tenfold {
namespace {

using ::tenfold::testing::copy_of;
using ::tenfold::testing::lively_detector;
using ::tenfold::testing::on_ranks;
using ::tenfold::testing::scenes_dataset;
using ::tenfold::testing::TemporaryFolder;

class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const Gpus gpus = find_gpus(); gpus.found.empty()) GTEST_SKIP() << "no GPU: " << gpus.why_none;
    at::globalContext().setAllowTF32CuDNN(false);
  }
  void TearDown() override { at::globalContext().setAllowTF32CuDNN(true); }

  const at::Device gpu_{at::kCUDA, 0};
};

double relative_distance(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor a = actual.detach().to(at::kCPU, at::kDouble), e = expected.detach().to(at::kCPU, at::kDouble);
  return (a - e).norm().item<double>() / std::max(e.norm().item<double>(), 1e-12);
}

Batch batch_of_pictures(int64_t images, int64_t side) {
  at::manual_seed(3);
  Batch batch;
  batch.images = at::randint(256, {images, 3, side, side}, at::kByte);
  batch.targets = at::rand({2 * images, 6}) * 0.4 + 0.3;
  batch.targets.select(1, 0).copy_(at::arange(2 * images).div(2, "floor"));
  batch.targets.select(1, 1).copy_(at::arange(2 * images).remainder(3));
  for (int64_t i = 0; i < images; ++i) batch.ids.push_back(i);
  return batch;
}

/// The loss of a batch, and the gradients that it leaves in a network placed on a device.
struct Pass {
  LossResult loss;
  std::vector<at::Tensor> gradients;
};

Pass pass_of(const Detector& network, const Batch& batch, const ComputeDevice& device) {
  const auto model = copy_of(network);
  place(*model, device);
  model->train();
  const auto loss = make_detection_loss(model->head_layout());
  Pass pass{loss_of_slice(*model, *loss, batch, device), {}};
  pass.loss.total.backward();
  for (const at::Tensor& parameter : model->parameters()) {
    if (parameter.grad().defined()) pass.gradients.push_back(parameter.grad());
  }
  return pass;
}

class GpuFamily : public Gpu, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(EveryFamily, GpuFamily, ::testing::Values("yolov5n", "yolov8n", "yolov10n"));

TEST_P(GpuFamily, HasTheLossAndTheGradientsOfTheCpu) {
  const auto network = lively_detector(GetParam(), 3);
  const Batch batch = batch_of_pictures(4, 96);
  const Pass cpu = pass_of(*network, batch, choose_device("cpu", "off", 0));
  const Pass gpu = pass_of(*network, batch, choose_device("cuda", "off", 0));
  EXPECT_LT(relative_distance(gpu.loss.items, cpu.loss.items), 1e-4);
  ASSERT_EQ(gpu.gradients.size(), cpu.gradients.size());
  double largest = 0;
  for (const at::Tensor& gradient : cpu.gradients) largest = std::max(largest, gradient.norm().item<double>());
  for (size_t i = 0; i < cpu.gradients.size(); ++i) {
    const double difference = (gpu.gradients[i].to(at::kCPU) - cpu.gradients[i]).norm().item<double>();
    EXPECT_LT(difference, 1e-3 * cpu.gradients[i].norm().item<double>() + 1e-5 * largest) << "parameter " << i;
  }
}

TEST_P(GpuFamily, HasNearlyTheSameLossInHalfPrecision) {
  const auto network = lively_detector(GetParam(), 3);
  const Batch batch = batch_of_pictures(4, 96);
  const Pass full = pass_of(*network, batch, choose_device("cuda", "off", 0));
  for (const char* amp : {"bf16", "fp16"}) {
    const Pass half = pass_of(*network, batch, choose_device("cuda", amp, 0));
    EXPECT_LT(relative_distance(half.loss.items, full.loss.items), 0.05) << amp;
    EXPECT_GT(relative_distance(half.loss.items, full.loss.items), 0) << amp << " was not used";
    for (const at::Tensor& gradient : half.gradients) EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << amp;
  }
}

TEST_P(GpuFamily, FindsWhatTheCpuFinds) {
  const auto network = lively_detector(GetParam(), 3);
  network->eval();
  const at::NoGradGuard no_grad;
  const at::Tensor images = batch_of_pictures(2, 96).images;
  const DetectOptions options{.conf = 0.01F, .multi_label = true};
  const auto found_on = [&](const char* name) {
    const ComputeDevice device = choose_device(name, "off", 0);
    const auto model = copy_of(*network);
    model->eval();
    place(*model, device);
    const auto raw = model->forward(network_input(images, device));
    return decode({raw.end() - static_cast<ptrdiff_t>(model->strides().size()), raw.end()}, model->head_layout());
  };
  const at::Tensor cpu = found_on("cpu"), gpu = found_on("cuda");
  EXPECT_LT(relative_distance(gpu, cpu), 1e-4);
  EXPECT_EQ(suppress(gpu, options).size(), suppress(cpu, options).size());
}

TEST_P(GpuFamily, GivesTheSameBitsAgain) {
  const auto network = lively_detector(GetParam(), 3);
  const Batch batch = batch_of_pictures(8, 160);
  for (const char* amp : {"off", "bf16", "fp16"}) {
    const ComputeDevice device = choose_device("cuda", amp, 0);
    const Pass first = pass_of(*network, batch, device), second = pass_of(*network, batch, device);
    EXPECT_TRUE(second.loss.items.equal(first.loss.items)) << amp;
    for (size_t i = 0; i < first.gradients.size(); ++i) {
      EXPECT_TRUE(second.gradients[i].equal(first.gradients[i])) << amp << ", parameter " << i;
    }
  }
}

TEST_F(Gpu, DepthwiseKernelsOfEitherKindGiveTheCpusNumbers) {
  at::manual_seed(1);
  const at::Tensor input = at::randn({2, 32, 20, 24}), kernel = at::randn({32, 1, 3, 3});
  const auto pass_on = [&](const at::Device& device) {
    const at::Tensor x = input.to(device).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
    const at::Tensor weight = kernel.to(device).requires_grad_();
    const at::Tensor y = convolve(x, weight, {}, {.stride = 2, .padding = 1, .groups = 32});
    y.square().sum().backward();
    return std::vector<at::Tensor>{y, x.grad(), weight.grad()};
  };
  const auto expected = pass_on(at::kCPU);
  for (const bool compiled : {false, true}) {
    const CompiledDepthwise scope(compiled);
    const auto actual = pass_on(gpu_);
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_LT(relative_distance(actual[i], expected[i]), 1e-5) << (compiled ? "compiled" : "ATen's own") << ", " << i;
      EXPECT_TRUE(i == 2 || actual[i].is_contiguous(at::MemoryFormat::ChannelsLast)) << (compiled ? "compiled" : "ATen's own");
    }
  }
}

TEST_F(Gpu, IsFedTheLoadersBatches) {
  const TemporaryFolder folder;
  const Dataset data = scenes_dataset(folder.path(), 40);
  const std::vector<std::vector<int64_t>> ids = {{3, 1, 4}, {15, 9, 2}, {6, 5, 35}, {8, 7}, {}, {30}};
  const auto batches_on = [&](const at::Device& device) {
    Loader loader(data, {.imgsz = 64, .seed = 5, .threads = 2, .pinned = device.is_cuda()});
    loader.start(1, ids, AugmentOptions{});
    DeviceFeed feed(loader, device);
    std::vector<Batch> batches;
    while (auto batch = feed.next()) {
      // Work that reads the batch while the next is copied, as a training step does.
      const at::Tensor work = batch->images.to(at::kFloat).square().sum();
      batches.push_back(std::move(*batch));
    }
    return batches;
  };
  const auto expected = batches_on(at::kCPU), actual = batches_on(gpu_);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(actual[i].images.is_cuda());
    EXPECT_TRUE(on_host(actual[i]).images.equal(expected[i].images)) << "batch " << i;
    EXPECT_TRUE(on_host(actual[i]).targets.equal(expected[i].targets)) << "batch " << i;
  }
}

TEST_F(Gpu, TellsTheMemoryThatWorkTakes) {
  const int64_t before = available_bytes(gpu_);
  EXPECT_GT(before, 0);
  constexpr int64_t kBytes = int64_t{256} << 20;
  const auto peak = peak_bytes_of(gpu_, [&] { at::empty({kBytes}, at::TensorOptions().dtype(at::kByte).device(gpu_)); });
  ASSERT_TRUE(peak.has_value());
  EXPECT_GE(*peak, kBytes);
  EXPECT_LT(*peak, 2 * kBytes);
  const auto too_much = peak_bytes_of(gpu_, [&] { at::empty({4 * before}, at::TensorOptions().dtype(at::kByte).device(gpu_)); });
  EXPECT_FALSE(too_much.has_value());
}

void expect_collectives_work(Communicator& ranks, const at::Device& device) {
  const int world = ranks.world_size(), rank = ranks.rank();
  const double sum = world * (world + 1) / 2.0;
  const at::Tensor own = at::full({3}, rank + 1.0, at::TensorOptions().dtype(at::kFloat).device(device));
  EXPECT_EQ(ranks.sum(own.clone()).sum().item<double>(), 3 * sum);
  EXPECT_EQ(ranks.stack(own).sum().item<double>(), 3 * sum);
  const at::Tensor shared = own.clone();
  ranks.broadcast({shared});
  EXPECT_EQ(shared[0].item<double>(), 1);
  EXPECT_EQ(ranks.begin_max(at::full({1}, rank, at::kInt))->wait().item<int>(), world - 1);
  EXPECT_EQ(ranks.gather_rows(at::zeros({rank, 2})).size(), static_cast<size_t>(world));
}

// Gradients are exchanged between processes alone: autograd has one thread a GPU, which two ranks of a process would
// share, and each would wait for the other in it.
TEST_F(Gpu, RanksThatShareItTalkByGloo) {
  on_ranks(2, [&](Communicator& ranks) {
    EXPECT_EQ(ranks.backend(), "gloo");
    expect_collectives_work(ranks, gpu_);
  }, 1, gpu_);
}

TEST_F(Gpu, ARankThatHasItAloneTalksByNccl) {
  on_ranks(1, [&](Communicator& ranks) {
    EXPECT_EQ(ranks.backend(), "nccl");
    expect_collectives_work(ranks, gpu_);
    const at::Tensor w = at::randn({500'000}).to(gpu_);
    for (const auto compression : {GradientCompression::none, GradientCompression::bf16}) {
      const at::Tensor p = at::zeros_like(w).set_requires_grad(true), q = at::zeros_like(w).set_requires_grad(true);
      const auto exchange = ranks.exchange_gradients({p, q}, {"p", "q"}, compression);
      for (int pass = 0; pass < 3; ++pass) {
        p.mutable_grad().reset();
        q.mutable_grad().reset();
        exchange->before_forward();
        exchange->backward((p * w + q * w * 2).sum());
      }
      const double tolerance = compression == GradientCompression::none ? 1e-6 : 0.01;
      EXPECT_LT(relative_distance(p.grad(), w), tolerance);
      EXPECT_LT(relative_distance(q.grad(), w * 2), tolerance);
    }
  }, 1, gpu_);
}

}  // namespace
}  // namespace tenfold
