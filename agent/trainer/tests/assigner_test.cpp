#include "assigner.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <map>
#include <numeric>

#include "box.h"

namespace tenfold {
namespace {

AnchorGrid grid_of(int height, int width, const std::vector<int>& strides) {
  std::vector<at::Tensor> maps;
  for (const int stride : strides) maps.push_back(at::zeros({1, 1, height / stride, width / stride}));
  return make_anchor_grid(maps, strides, at::kFloat);
}

Truth truth_of(const std::vector<int64_t>& image, const std::vector<int64_t>& cls, const std::vector<float>& boxes) {
  return {at::tensor(image, at::kLong), at::tensor(cls, at::kLong), at::tensor(boxes, at::kFloat).view({-1, 4})};
}

/// (image * A + anchor) -> (box, score).
using Plan = std::map<int64_t, std::pair<int64_t, float>>;

Plan plan_of(const Assignment& assignment) {
  Plan plan;
  for (int64_t i = 0; i < assignment.anchor.size(0); ++i)
    plan[assignment.anchor[i].item<int64_t>()] = {assignment.truth[i].item<int64_t>(),
                                                  assignment.score[i].item<float>()};
  EXPECT_EQ(static_cast<int64_t>(plan.size()), assignment.anchor.size(0)) << "an anchor was assigned twice";
  return plan;
}

/// The definition, box by box and anchor by anchor.
Plan plan_by_definition(const AnchorGrid& grid, const at::Tensor& logits, const at::Tensor& boxes, const Truth& truth,
                        const AssignerOptions& options) {
  const int64_t anchors = grid.size(), count = truth.boxes.size(0);
  const auto scores = logits.sigmoid();
  std::map<std::pair<int64_t, int64_t>, double> overlap, alignment;  // by (box, image * A + anchor), inside only
  std::map<int64_t, std::vector<int64_t>> claims;                    // by anchor
  for (int64_t t = 0; t < count; ++t) {
    const auto image = truth.image[t].item<int64_t>(), cls = truth.cls[t].item<int64_t>();
    const auto box = truth.boxes[t];
    std::vector<std::pair<double, int64_t>> ranked;
    for (int64_t a = 0; a < anchors; ++a) {
      const float x = grid.points[a][0].item<float>(), y = grid.points[a][1].item<float>();
      if (x <= box[0].item<float>() || y <= box[1].item<float>() || x >= box[2].item<float>() ||
          y >= box[3].item<float>())
        continue;
      const double o = std::max(0.0, double{box_ciou(box, boxes[image][a]).item<float>()});
      const double align = std::pow(scores[image][a][cls].item<float>(), options.alpha) * std::pow(o, options.beta);
      overlap[{t, image * anchors + a}] = o;
      alignment[{t, image * anchors + a}] = align;
      if (align > 0) ranked.emplace_back(-align, image * anchors + a);
    }
    std::sort(ranked.begin(), ranked.end());
    for (size_t i = 0; i < ranked.size() && i < static_cast<size_t>(options.topk); ++i)
      claims[ranked[i].second].push_back(t);
  }
  std::map<int64_t, int64_t> owner;
  for (const auto& [anchor, boxes_claiming] : claims) {
    owner[anchor] = boxes_claiming.front();
    if (boxes_claiming.size() == 1) continue;
    double best = -1;
    for (int64_t t = 0; t < count; ++t)
      if (const auto found = overlap.find({t, anchor}); found != overlap.end() && found->second > best) {
        best = found->second;
        owner[anchor] = t;
      }
  }
  std::map<int64_t, double> most_overlap, most_alignment;
  for (const auto& [anchor, t] : owner) {
    most_overlap[t] = std::max(most_overlap[t], overlap[{t, anchor}]);
    most_alignment[t] = std::max(most_alignment[t], alignment[{t, anchor}]);
  }
  Plan plan;
  for (const auto& [anchor, t] : owner)
    plan[anchor] = {t, static_cast<float>(alignment[{t, anchor}] * most_overlap[t] / (most_alignment[t] + 1e-9))};
  return plan;
}

class AssignerOnRandomScenes : public testing::TestWithParam<int> {};

TEST_P(AssignerOnRandomScenes, FollowsTheDefinition) {
  at::manual_seed(GetParam());
  const int size = 64;
  const int64_t batch = 3, classes = 4, count = 20;
  const auto grid = grid_of(size, size, {8, 16, 32});
  const auto logits = at::randn({batch, grid.size(), classes});
  // Predictions near their anchors, of all sizes, so that overlaps vary.
  const auto boxes = boxes_around(grid.points, at::rand({batch, grid.size(), 4}) * 3, grid.stride);
  const auto corner = at::rand({count, 2}) * size, extent = at::rand({count, 2}) * 48;
  const Truth truth{at::randint(batch, {count}, at::kLong), at::randint(classes, {count}, at::kLong),
                    at::cat({corner - extent / 2, corner + extent / 2}, 1)};  // some reach over the border
  for (const int topk : {1, 10}) {
    const AssignerOptions options{.topk = topk};
    const auto expected = plan_by_definition(grid, logits, boxes, truth, options);
    const auto plan = plan_of(assign_task_aligned(list_candidates(grid, truth, logits.size(-1)), logits, boxes, truth, options));
    ASSERT_GT(expected.size(), 10U) << "a scene that tests nothing";
    ASSERT_EQ(plan.size(), expected.size());
    for (const auto& [anchor, owner] : expected) {
      ASSERT_TRUE(plan.count(anchor)) << anchor;
      EXPECT_EQ(plan.at(anchor).first, owner.first) << anchor;
      EXPECT_NEAR(plan.at(anchor).second, owner.second, 1e-4) << anchor;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, AssignerOnRandomScenes, testing::Range(0, 4));

TEST(Assigner, AssignsNothingWhereThereIsNothing) {
  const auto grid = grid_of(32, 32, {8});
  const auto nothing = truth_of({}, {}, {});
  const auto assignment = assign_task_aligned(list_candidates(grid, nothing, 2), at::zeros({1, 16, 2}), at::zeros({1, 16, 4}), nothing);
  EXPECT_EQ(assignment.anchor.size(0), 0);
}

TEST(Assigner, LeavesBoxesWithoutAnAnchorInsideAlone) {
  const auto grid = grid_of(32, 32, {8});  // centres at 4, 12, 20, 28
  const auto boxes = boxes_around(grid.points, at::ones({1, 16, 4}), grid.stride);
  const auto truth = truth_of({0, 0, 0}, {0, 0, 1},
                              {5, 5, 11, 11,      // between the centres
                               10, 10, 10, 10,    // empty
                               40, 40, 60, 60});  // outside
  EXPECT_EQ(assign_task_aligned(list_candidates(grid, truth, 2), at::zeros({1, 16, 2}), boxes, truth).anchor.size(0), 0);
}

TEST(Assigner, GivesAContestedAnchorToTheBoxItOverlapsMost) {
  const auto grid = grid_of(8, 8, {8});  // a single anchor, centre (4, 4)
  const auto boxes = at::tensor({0.F, 0.F, 8.F, 8.F}).view({1, 1, 4});
  const auto truth = truth_of({0, 0}, {0, 1}, {0, 0, 6, 6, 0, 0, 8, 7});
  // The first box's class scores far higher, which decides nothing here.
  const auto assignment = assign_task_aligned(list_candidates(grid, truth, 2), at::tensor({9.F, -1.F}).view({1, 1, 2}), boxes, truth);
  ASSERT_EQ(assignment.anchor.size(0), 1);
  EXPECT_EQ(assignment.truth[0].item<int64_t>(), 1);
  EXPECT_NEAR(assignment.score[0].item<float>(), box_ciou(truth.boxes[1], boxes[0][0]).item<float>(), 1e-5);
}

}  // namespace
}  // namespace tenfold
