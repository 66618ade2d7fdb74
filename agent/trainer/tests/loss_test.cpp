#include "loss.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "anchor_grid.h"
#include "assigner.h"
#include "box.h"
#include "exit_code.h"
#include "loss_gains.h"

namespace tenfold {
namespace {

constexpr int kSize = 64;
const HeadLayout kLayout{Family::v8, 3, {8, 16, 32}, 16};

/// Heads of three scales and classes.
HeadLayout layout_of(Family family) {
  HeadLayout layout{family, 3, {8, 16, 32}, 16};
  if (family == Family::v5)
    layout.anchors = at::tensor({1.F, 2.F, 2.F, 1.F, 1.F, 1.F, 2.F, 2.F, 1.F, 2.F, 2.F, 1.F}).view({3, 2, 2});
  return layout;
}

std::vector<at::Tensor> random_heads(int64_t batch, const HeadLayout& layout = kLayout) {
  std::vector<at::Tensor> raw;
  const int branches = layout.family == Family::v10 ? 2 : 1;
  for (int branch = 0; branch < branches; ++branch)
    for (const int stride : layout.strides) {
      const int64_t cells = kSize / stride;
      raw.push_back(layout.family == Family::v5 ? at::randn({batch, layout.anchors.size(1), cells, cells, 5 + 3})
                                                : at::randn({batch, 4 * 16 + 3, cells, cells}));
      raw.back().requires_grad_();
    }
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
  const auto assigned = assign_task_aligned(list_candidates(grid, truth, logits.size(-1)), logits, boxes, truth);
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

class FamilyLoss : public ::testing::TestWithParam<Family> {};

/// What a rank gets when its own images are several parts, like the micro-batches of one step.
struct RankResult {
  std::vector<std::vector<at::Tensor>> heads;  // by part
  at::Tensor items;
};

TEST_P(FamilyLoss, OfUnequalPartsOnUnequalRanksIsThatOfTheWholeBatch) {
  at::manual_seed(3);
  const auto layout = layout_of(GetParam());
  const auto whole = random_heads(4, layout);
  const auto targets = random_targets(4, 10);
  const auto single = (*make_detection_loss(layout))(whole, targets, kSize, kSize);
  single.total.backward();

  // Rank 0 has two parts of two images and one, rank 1 has one image and an empty part.
  const std::vector<std::vector<std::pair<int64_t, int64_t>>> shares = {{{0, 2}, {2, 1}}, {{3, 1}, {4, 0}}};
  const auto run = [&](size_t rank, const SumOverRanks& sum) {
    const auto loss = make_detection_loss(layout);
    loss->set_sum_over_ranks(sum);
    RankResult result{{}, at::zeros_like(single.items)};
    std::vector<LossTerms> parts;
    at::Tensor normalisers;
    for (const auto& [first, count] : shares[rank]) {
      result.heads.push_back(images_from(whole, first, count));
      parts.push_back(loss->terms(result.heads.back(), targets_from(targets, first, count), kSize, kSize));
      const auto& own = parts.back().normalisers;
      EXPECT_FALSE(own.requires_grad());
      normalisers = normalisers.defined() ? normalisers + own : own;
    }
    const auto over_all = loss->over_ranks(normalisers);
    for (const auto& part : parts) {
      const auto divided = loss->divide(part, over_all);
      divided.total.backward();
      result.items += divided.items;
    }
    return result;
  };
  // A first run only collects what each would send to the all-reduce.
  at::Tensor sums;
  for (const size_t rank : {0U, 1U})
    run(rank, [&](const at::Tensor& sent) {
      sums = sums.defined() ? sums + sent : sent.clone();
      return sent;
    });
  EXPECT_EQ(sums[0].item<float>(), 4) << "images";
  EXPECT_EQ(sums[-1].item<float>(), 2) << "ranks";

  at::Tensor items = at::zeros_like(single.items);
  for (const size_t rank : {0U, 1U}) {
    const auto result = run(rank, [&](const at::Tensor&) { return sums; });
    for (size_t part = 0; part < shares[rank].size(); ++part) {
      const auto [first, count] = shares[rank][part];
      if (count == 0) continue;
      for (size_t i = 0; i < whole.size(); ++i) {
        // Each head value belongs to one rank, so DDP's average over the ranks is half of that rank's gradient.
        const auto average = result.heads[part][i].grad() / 2, expected = whole[i].grad().narrow(0, first, count);
        EXPECT_TRUE(at::allclose(average, expected, 1e-5, 1e-6)) << "rank " << rank << " map " << i;
      }
    }
    items += result.items / 2;
  }
  EXPECT_TRUE(at::allclose(items, single.items, 1e-5, 1e-6)) << items << single.items;
}

TEST_P(FamilyLoss, HasANameForEveryItem) {
  at::manual_seed(5);
  const auto layout = layout_of(GetParam());
  const auto result = (*make_detection_loss(layout))(random_heads(1, layout), random_targets(1, 3), kSize, kSize);
  const auto items = named_items(GetParam(), result.items);
  EXPECT_EQ(result.items.numel(), static_cast<int64_t>(items.size()));
  double sum = 0;
  for (const auto& item : items) sum += item.value;
  EXPECT_NEAR(result.total.item<double>(), sum, 1e-4 * sum) << "one image";
}

TEST_P(FamilyLoss, WithoutObjectsReachesEveryHead) {
  const auto layout = layout_of(GetParam());
  const auto raw = random_heads(2, layout);
  (*make_detection_loss(layout))(raw, at::zeros({0, 6}), kSize, kSize).total.backward();
  for (const auto& map : raw) {
    ASSERT_TRUE(map.grad().defined());
    EXPECT_GT(map.grad().abs().sum().item<double>(), 0) << "the background is learnt";
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyLoss, ::testing::Values(Family::v5, Family::v8, Family::v10),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST(AnchorLoss, LearnsABoxInItsCellAndTheTwoNearestBesideIt) {
  const auto layout = layout_of(Family::v5);
  const auto raw = random_heads(1, layout);
  // 16 pixels wide and high: 2 x 2 cells at stride 8, within four times every anchor. Its centre (19, 45) lies in column
  // 2 and row 5 of 8 x 8, in the left and lower half of the cell.
  const auto targets = at::tensor({0.F, 1.F, 19.F / 64, 45.F / 64, 16.F / 64, 16.F / 64}).view({1, 6});
  const auto loss = make_detection_loss(layout, {.box = 1, .cls = 0, .obj = 0});
  (*loss)(raw, targets, kSize, kSize).total.backward();
  const auto learnt = raw[0].grad()[0].abs().sum(-1) > 0;  // (anchors, 8, 8)
  for (int64_t anchor = 0; anchor < 2; ++anchor) {
    EXPECT_EQ(learnt[anchor].sum().item<int64_t>(), 3);
    EXPECT_TRUE(learnt[anchor][5][2].item<bool>()) << "its own cell";
    EXPECT_TRUE(learnt[anchor][5][1].item<bool>()) << "to the left";
    EXPECT_TRUE(learnt[anchor][6][2].item<bool>()) << "below";
  }
}

TEST(AnchorLoss, LeavesABoxToAnchorsOfSimilarShape) {
  auto layout = layout_of(Family::v5);
  layout.anchors = layout.anchors.clone();
  layout.anchors[0].copy_(at::tensor({2.F, 2.F, 2.F, 9.F}).view({2, 2}));  // the second 4.5 times as high as the box
  const auto raw = random_heads(1, layout);
  const auto targets = at::tensor({0.F, 1.F, 20.F / 64, 44.F / 64, 16.F / 64, 16.F / 64}).view({1, 6});
  (*make_detection_loss(layout, {.box = 1, .cls = 0, .obj = 0}))(raw, targets, kSize, kSize).total.backward();
  EXPECT_GT(raw[0].grad()[0][0].abs().sum().item<double>(), 0);
  EXPECT_EQ(raw[0].grad()[0][1].abs().sum().item<double>(), 0);
}

TEST(AnchorLoss, SmoothsTheLabelsOfClassesWhenAskedTo) {
  at::manual_seed(6);
  const auto layout = layout_of(Family::v5);
  const auto raw = random_heads(1, layout);
  const auto targets = random_targets(1, 2);
  const auto cls = [&](double smoothing) {
    const LossGains gains{.box = 0, .cls = 1, .obj = 0, .label_smoothing = smoothing};
    return (*make_detection_loss(layout, gains))(raw, targets, kSize, kSize).items[2].item<double>();
  };
  // The loss is linear in the labels: halfway between certain and uniform labels lies the mean.
  EXPECT_NEAR(cls(0.4), (cls(0.2) + cls(0.6)) / 2, 1e-5);
  EXPECT_NE(cls(0), cls(0.4));
}

TEST(LossGains, AreThoseOfTheFamilyUnlessSet) {
  TrainArguments args;
  const auto v8 = gains_of(args, layout_of(Family::v8));
  EXPECT_EQ(v8.box, 7.5);
  EXPECT_EQ(v8.cls, 0.5);
  EXPECT_EQ(v8.dfl, 1.5);
  args.imgsz = 320;
  const auto v5 = gains_of(args, layout_of(Family::v5));
  EXPECT_EQ(v5.box, 0.05);
  EXPECT_DOUBLE_EQ(v5.cls, 0.5 * 3 / 80);
  EXPECT_DOUBLE_EQ(v5.obj, 0.25) << "a quarter of the cells";
  args.box = 0.1;
  args.obj = 2;
  EXPECT_EQ(gains_of(args, layout_of(Family::v5)).box, 0.1);
  EXPECT_DOUBLE_EQ(gains_of(args, layout_of(Family::v5)).obj, 0.5);
  EXPECT_THROW(gains_of(args, layout_of(Family::v8)), TrainerError) << "no objectness there";
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
