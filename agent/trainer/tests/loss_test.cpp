#include "loss.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "anchor_grid.h"
#include "assigner.h"
#include "box.h"

namespace tenfold {
namespace {

constexpr int kSize = 64;
const HeadLayout kLayout{Family::v8, 3, {8, 16, 32}, 16};

std::vector<at::Tensor> random_heads(int64_t batch) {
  std::vector<at::Tensor> raw;
  for (const int stride : kLayout.strides)
    raw.push_back(at::randn({batch, 4 * 16 + 3, kSize / stride, kSize / stride}).requires_grad_());
  return raw;
}

/// `count` boxes over the images of a batch: (count, 6).
at::Tensor random_targets(int64_t batch, int64_t count) {
  const auto image = at::randint(batch, {count, 1}).to(at::kFloat), cls = at::randint(3, {count, 1}).to(at::kFloat);
  return at::cat({image, cls, at::rand({count, 2}) * 0.6 + 0.2, at::rand({count, 2}) * 0.5 + 0.1}, 1);
}

std::vector<at::Tensor> images_from(const std::vector<at::Tensor>& raw, int64_t first, int64_t count) {
  std::vector<at::Tensor> part;
  for (const auto& map : raw) part.push_back(map.detach().narrow(0, first, count).clone().requires_grad_());
  return part;
}

at::Tensor targets_from(const at::Tensor& targets, int64_t first, int64_t count) {
  const auto image = targets.select(1, 0);
  auto part = targets.index({(image >= first) & (image < first + count)}).clone();
  part.select(1, 0) -= first;
  return part;
}

TEST(DetectionLoss, WithoutObjectsIsTheBackgroundAloneAndReachesEveryHead) {
  at::manual_seed(1);
  const auto raw = random_heads(2);
  const auto loss = make_detection_loss(kLayout);
  const auto result = (*loss)(raw, at::zeros({0, 6}), kSize, kSize);
  double background = 0;
  for (const auto& map : raw) background += at::softplus(map.narrow(1, 64, 3)).sum().item<double>();
  EXPECT_EQ(result.items[0].item<float>(), 0);
  EXPECT_NEAR(result.items[1].item<double>(), 0.5 * background, 1e-4 * background);
  EXPECT_EQ(result.items[2].item<float>(), 0);
  result.total.backward();
  for (const auto& map : raw) EXPECT_TRUE(map.grad().defined());
}

TEST(DetectionLoss, EqualsTheFormulasWrittenOutDensely) {
  at::manual_seed(2);
  const auto raw = random_heads(2);
  const auto targets = random_targets(2, 9);
  const auto result = (*make_detection_loss(kLayout))(raw, targets, kSize, kSize);

  const auto predictions = by_anchor(raw).detach();
  const auto grid = make_anchor_grid(raw, kLayout.strides, at::kFloat);
  const auto logits = predictions.narrow(2, 64, 3);
  const auto boxes = boxes_around(grid.points, expected_distance(predictions.narrow(2, 0, 64), 16), grid.stride);
  const Truth truth{targets.select(1, 0).to(at::kLong), targets.select(1, 1).to(at::kLong),
                    xywh_to_xyxy(targets.narrow(1, 2, 4) * kSize)};
  const auto assigned = assign_task_aligned(grid, logits, boxes, truth);
  ASSERT_GT(assigned.anchor.size(0), 5);

  auto wanted = at::zeros_like(logits).flatten(0, 1);
  double box = 0, dfl = 0;
  for (int64_t i = 0; i < assigned.anchor.size(0); ++i) {
    const auto anchor = assigned.anchor[i].item<int64_t>(), t = assigned.truth[i].item<int64_t>();
    const auto score = assigned.score[i].item<double>();
    const auto cell = anchor % grid.size();
    wanted[anchor][truth.cls[t].item<int64_t>()] = score;
    box += (1 - box_ciou(boxes.flatten(0, 1)[anchor], truth.boxes[t]).item<double>()) * score;
    const auto log_p = predictions.flatten(0, 1)[anchor].narrow(0, 0, 64).view({4, 16}).log_softmax(1);
    for (int64_t side = 0; side < 4; ++side) {
      const double edge = truth.boxes[t][side].item<double>(), centre = grid.points[cell][side % 2].item<double>();
      const double distance =
          std::clamp((side < 2 ? centre - edge : edge - centre) / grid.stride[cell].item<double>(), 0.0, 14.99);
      const auto left = static_cast<int64_t>(distance);
      const double part = distance - static_cast<double>(left);
      dfl -= (log_p[side][left].item<double>() * (1 - part) + log_p[side][left + 1].item<double>() * part) / 4 * score;
    }
  }
  const double cls =
      at::binary_cross_entropy_with_logits(logits.flatten(0, 1), wanted, {}, {}, at::Reduction::Sum).item<double>();
  const double scores = std::max(1.0, wanted.sum().item<double>());
  EXPECT_NEAR(result.items[0].item<double>(), 7.5 * box / scores, 1e-3);
  EXPECT_NEAR(result.items[1].item<double>(), 0.5 * cls / scores, 1e-3);
  EXPECT_NEAR(result.items[2].item<double>(), 1.5 * dfl / scores, 1e-3);
  EXPECT_NEAR(result.total.item<double>(), 2 * result.items.sum().item<double>(), 1e-3) << "times the images";
}

TEST(DetectionLoss, AveragedOverUnequalRanksHasTheGradientOfTheWholeBatch) {
  at::manual_seed(3);
  const auto whole = random_heads(3);
  const auto targets = random_targets(3, 8);
  const auto single = (*make_detection_loss(kLayout))(whole, targets, kSize, kSize);
  single.total.backward();

  // Rank 0 has two images and rank 1 has one. A first run only collects what each would send to the all-reduce.
  const std::vector<std::pair<int64_t, int64_t>> shares = {{0, 2}, {2, 1}};
  const auto run = [&](size_t rank, const SumOverRanks& sum) {
    const auto [first, count] = shares[rank];
    const auto raw = images_from(whole, first, count);
    const auto loss = make_detection_loss(kLayout);
    loss->set_sum_over_ranks(sum);
    const auto result = (*loss)(raw, targets_from(targets, first, count), kSize, kSize);
    result.total.backward();
    return std::pair(raw, result.items);
  };
  at::Tensor sums = at::zeros({3});
  const auto collect = [&](const at::Tensor& sent) {
    sums += sent;
    return sent;
  };
  for (const size_t rank : {0U, 1U}) run(rank, collect);
  EXPECT_EQ(sums[1].item<float>(), 3) << "images";
  EXPECT_EQ(sums[2].item<float>(), 2) << "ranks";

  at::Tensor items = at::zeros({3});
  for (const size_t rank : {0U, 1U}) {
    const auto [raw, rank_items] = run(rank, [&](const at::Tensor&) { return sums; });
    const auto [first, count] = shares[rank];
    for (size_t i = 0; i < raw.size(); ++i) {
      // Each head value belongs to one rank, so DDP's average over the ranks is half of that rank's gradient.
      const auto average = raw[i].grad() / 2, expected = whole[i].grad().narrow(0, first, count);
      EXPECT_TRUE(at::allclose(average, expected, 1e-5, 1e-6)) << "rank " << rank << " map " << i;
    }
    items += rank_items / 2;
  }
  EXPECT_TRUE(at::allclose(items, single.items, 1e-5, 1e-6));
}

TEST(DetectionLoss, ComputesHalfPrecisionInFloat) {
  at::manual_seed(4);
  const auto raw = random_heads(1);
  std::vector<at::Tensor> half, rounded;
  for (const auto& map : raw) {
    half.push_back(map.detach().to(at::kBFloat16));
    rounded.push_back(half.back().to(at::kFloat));
  }
  const auto targets = random_targets(1, 4);
  const auto loss = make_detection_loss(kLayout);
  EXPECT_TRUE(at::equal((*loss)(half, targets, kSize, kSize).items, (*loss)(rounded, targets, kSize, kSize).items));
}

TEST(BoxOverlap, OfKnownBoxes) {
  const auto a = at::tensor({0.F, 0.F, 4.F, 4.F}), b = at::tensor({2.F, 0.F, 6.F, 4.F});
  EXPECT_NEAR(box_iou(a, b).item<float>(), 8.0 / 24, 1e-6);
  // Same shape: only the centres' distance 2 counts, against the hull's diagonal of 6 by 4.
  EXPECT_NEAR(box_ciou(a, b).item<float>(), 8.0 / 24 - 4.0 / 52, 1e-6);
  EXPECT_NEAR(box_ciou(a, a).item<float>(), 1, 1e-6);
  const auto empty = at::zeros({4});
  EXPECT_TRUE(box_ciou(empty, empty).isfinite().item<bool>());
}

}  // namespace
}  // namespace tenfold
