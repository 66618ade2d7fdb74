#include "plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <tuple>

#include "run_plots.h"

namespace tenfold {
namespace {

TEST(Plot, TicksAreRoundAndCoverTheRange) {
  EXPECT_EQ(round_ticks(0, 1, 5).size(), 6U);
  EXPECT_EQ(round_ticks(1, 30, 6), (std::vector<double>{5, 10, 15, 20, 25, 30}));
  EXPECT_EQ(round_ticks(0.013, 0.041, 3), (std::vector<double>{0.02, 0.03, 0.04}));
  EXPECT_EQ(round_ticks(-1, 1, 2), (std::vector<double>{-1, 0, 1}));
  EXPECT_EQ(round_ticks(3, 3, 5), (std::vector<double>{3})) << "a range of nothing";
}

TEST(Plot, TickTextsHaveNoMoreDigitsThanTheyNeed) {
  EXPECT_EQ(tick_text(0.2, 0.2), "0.2");
  EXPECT_EQ(tick_text(15, 5), "15");
  EXPECT_EQ(tick_text(0.025, 0.005), "0.025");
  EXPECT_EQ(tick_text(2e6, 1e6), "2e+06");
}

TEST(Plot, PointsLieWhereTheAxesSay) {
  Canvas canvas(Image(400, 300, kPaper));
  const Plot plot(canvas, {0, 0, 400, 300}, "title", {"x", 0, 10}, {"y", -1, 1});
  const Rect& inside = plot.inside();
  EXPECT_EQ(plot.pixel(0, -1).x, inside.left);
  EXPECT_EQ(plot.pixel(0, -1).y, inside.bottom);
  EXPECT_EQ(plot.pixel(10, 1).x, inside.right);
  EXPECT_EQ(plot.pixel(10, 1).y, inside.top);
}

std::set<std::tuple<int, int, int>> colours_of(const Image& image) {
  std::set<std::tuple<int, int, int>> colours;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* p = image.row(y) + 3 * x;
      colours.emplace(p[0], p[1], p[2]);
    }
  return colours;
}

bool has(const Image& image, Rgb colour) { return colours_of(image).contains({colour.r, colour.g, colour.b}); }

EpochRow row_of(int64_t epoch, bool validated) {
  EpochRow row;
  row.epoch = epoch;
  for (const char* name : {"box", "cls", "dfl"}) row.train.push_back({name, 3.0 / static_cast<double>(epoch)});
  if (validated) {
    row.val = row.train;
    row.metrics = MetricSummary{0.5, 0.4, 0.3, 0.2};
  }
  return row;
}

TEST(ResultsPlot, IsDrawnFromTheFirstEpochOnAndWithoutValidation) {
  EXPECT_FALSE(results_plot({}).empty());
  EXPECT_TRUE(has(results_plot({row_of(1, true)}), line_colour(0)));
  const Image unvalidated = results_plot({row_of(1, false), row_of(2, false)});
  EXPECT_TRUE(has(unvalidated, line_colour(0)));
  EpochRow strange = row_of(2, true);
  strange.train[0].value = std::nan("");
  EXPECT_TRUE(has(results_plot({row_of(1, true), strange, row_of(3, true)}), line_colour(0)));
}

Metrics metrics_of(int classes) {
  Metrics metrics;
  metrics.confusion = ConfusionMatrix(classes);
  for (int cls = 0; cls < classes; ++cls) {
    metrics.classes.push_back({.cls = cls, .labels = 10});
    const double height = (cls + 0.5) / classes;  // apart from each other, and from their mean but for one
    const std::vector<double> level(kConfidences, height);
    metrics.curves.push_back({{level, level}, std::vector<double>(101, height)});
    metrics.confusion.add(cls, cls, 9 + cls);
    metrics.confusion.add(metrics.confusion.background(), cls, 1);
  }
  return metrics;
}

TEST(CurvePlots, TellFewClassesApartAndShowManyAsOneCloud) {
  const std::vector<std::string> names(80, "name");
  for (const Curve curve : {Curve::precision_recall, Curve::f1, Curve::precision, Curve::recall}) {
    EXPECT_TRUE(has(curve_plot(metrics_of(3), curve, names), line_colour(2)));
    EXPECT_FALSE(has(curve_plot(metrics_of(80), curve, names), line_colour(2)));
    EXPECT_FALSE(curve_plot(Metrics{}, curve, names).empty()) << "nothing was labelled";
  }
}

TEST(ConfusionPlot, ShowsEveryCellWhateverTheNumberOfClasses) {
  for (const int classes : {1, 3, 80}) {
    const std::vector<std::string> names(static_cast<size_t>(classes), "a class");
    const Metrics metrics = metrics_of(classes);
    EXPECT_TRUE(has(confusion_plot(metrics.confusion, names, false), heat_colour(1))) << classes;
    EXPECT_TRUE(has(confusion_plot(metrics.confusion, names, true), heat_colour(0.9))) << classes;
  }
  EXPECT_FALSE(confusion_plot(ConfusionMatrix(2), {"a", "b"}, true).empty()) << "nothing was evaluated";
}

TEST(LabelPlot, ShowsWhereTheLabelsAre) {
  LabelStatistics statistics({"cat", "dog"});
  EXPECT_FALSE(statistics.plot().empty()) << "no labels at all";
  const std::vector<Label> labels{{0, 0.5F, 0.5F, 0.2F, 0.2F}, {1, 1.0F, 1.0F, 1.0F, 1.0F}, {1, 0.1F, 0.9F, 0.01F, 0.5F}};
  statistics.add(labels);
  EXPECT_TRUE(has(statistics.plot(), line_colour(0)));
}

}  // namespace
}  // namespace tenfold
