#include "plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "run_plots.h"
#include "text_raster.h"

namespace tenfold {
namespace {

TEST(Plot, TicksAreRoundAndCoverTheRange) {
  EXPECT_EQ(round_ticks(0, 1, 5).size(), 6U);
  EXPECT_EQ(round_ticks(1, 30, 6), (std::vector<double>{5, 10, 15, 20, 25, 30}));
  EXPECT_EQ(round_ticks(0.013, 0.041, 3), (std::vector<double>{0.02, 0.03, 0.04}));
  EXPECT_EQ(round_ticks(-1, 1, 2), (std::vector<double>{-1, 0, 1}));
  EXPECT_EQ(round_ticks(3, 3, 5), (std::vector<double>{3})) << "a range of nothing";
}

TEST(Plot, CountsHaveWholeTicks) {
  EXPECT_EQ(whole_ticks(0, 1, 5), (std::vector<double>{0, 1}));
  EXPECT_EQ(whole_ticks(0, 3, 5), (std::vector<double>{0, 1, 2, 3}));
}

TEST(Plot, LongNamesAreCutInTheMiddle) {
  EXPECT_EQ(cut_in_middle("traffic light", 13), "traffic light");
  EXPECT_EQ(cut_in_middle("traffic sign 30", 7), "tra… 30");
  EXPECT_EQ(cut_in_middle("äöüäöü", 4), "äö…ü") << "between characters";
  EXPECT_EQ(cut_in_middle("name", 1), "…");
  const std::vector<std::string> names = {"regulatory--maximum-speed-limit-30--g1",
                                          "regulatory--maximum-speed-limit-40--g1"};
  EXPECT_NE(class_name(names, 0), class_name(names, 1));
  const std::string cut = cut_to_width(names[0], 15, 100);
  EXPECT_LE(text_size(cut, 15).width, 100);
  EXPECT_GT(text_size(cut, 15).width, 80);
  EXPECT_EQ(cut_to_width("cat", 15, 100), "cat");
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

/// How many runs of columns of a part of a picture have something dark in them.
int dark_bands(const Image& image, int left, int right, int top, int bottom, bool in_rows = false) {
  const auto dark = [&](int x, int y) { return image.row(y)[3 * x] < 120 && image.row(y)[3 * x + 2] < 120; };
  const auto any_dark = [&](int at) {
    for (int i = in_rows ? left : top; i < (in_rows ? right : bottom); ++i)
      if (in_rows ? dark(i, at) : dark(at, i)) return true;
    return false;
  };
  int bands = 0;
  bool within = false;
  for (int at = in_rows ? top : left; at < (in_rows ? bottom : right); ++at) {
    const bool now = any_dark(at);
    bands += now && !within ? 1 : 0;
    within = now;
  }
  return bands;
}

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

TEST(CurvePlots, NameTheConfidenceThatTheMetricsAreTakenAt) {
  // The raw mean is best at a peak of one step, the smoothed one on the plateau.
  Metrics metrics;
  metrics.classes.push_back({.cls = 0, .labels = 10});
  std::vector<double> level(kConfidences, 0.1);
  std::fill(level.begin() + 200, level.begin() + 500, 0.6);
  level[900] = 0.9;
  metrics.curves.push_back({{level, level}, std::vector<double>(101, 0.5)});
  metrics.confidence = 0.35;
  metrics.f1 = 0.6;
  EXPECT_EQ(curve_summary(metrics, Curve::f1), "all classes  0.60 at 0.350");
  EXPECT_EQ(curve_summary(metrics, Curve::precision), "all classes  0.90 at 0.901");
  EXPECT_EQ(curve_summary(metrics, Curve::recall), "all classes  0.10 at 0");
  EXPECT_EQ(curve_summary(Metrics{}, Curve::f1), "all classes") << "nothing was labelled";
}

TEST(ConfusionPlot, HasWholeCountsBesideItsColours) {
  ConfusionMatrix confusion(3);
  confusion.add(0, 0, 1);
  const auto numbers = [&](bool normalised) {
    const Image plot = confusion_plot(confusion, {"a", "b", "c"}, normalised);
    const int left = plot.width - kPlotMargin - text_size("0000", kPlotText).width;
    return dark_bands(plot, left, plot.width, 0, plot.height, true);
  };
  EXPECT_EQ(numbers(false), 2) << "0 and 1";
  EXPECT_EQ(numbers(true), 6) << "0, 0.2, …, 1";
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

TEST(LabelPlot, WritesNoMoreNamesAndCountsThanThereIsRoomFor) {
  constexpr int kPanelWidth = 560;
  const auto plot_of = [](int classes) {
    std::vector<std::string> names;
    for (int cls = 0; cls < classes; ++cls) names.push_back("class" + std::to_string(10 + cls % 90));
    LabelStatistics statistics(names);
    const std::vector<Label> labels{{0, 0.5F, 0.5F, 0.2F, 0.2F}};
    statistics.add(labels);
    return statistics.plot();
  };
  // Ten classes: all names, side by side or upwards. Eighty: every other. A thousand: some.
  for (const auto& [classes, least, most] : {std::tuple{10, 10, 80}, {80, 20, 45}, {1000, 15, 60}}) {
    const Image plot = plot_of(classes);
    const int bands = dark_bands(plot, 60, kPanelWidth, plot.height - 55, plot.height - 20);
    EXPECT_GE(bands, least) << classes;
    EXPECT_LE(bands, most) << classes;
  }
  const Image plot = plot_of(80);
  EXPECT_EQ(dark_bands(plot, 80, kPanelWidth, 430, 460), 0) << "no zeros above the axis";
}

TEST(LabelPlot, WritesTheNumbersOfAllClassesOrOfNone) {
  // Every other class has ten objects, the others nine: the bars' ends are some pixels apart.
  const std::vector<std::string> names(30, "a");
  LabelStatistics statistics(names);
  for (int cls = 0; cls < 30; ++cls)
    statistics.add(std::vector<Label>(static_cast<size_t>(9 + cls % 2), Label{cls, 0.5F, 0.5F, 0.2F, 0.2F}));
  const Image plot = statistics.plot();
  EXPECT_EQ(dark_bands(plot, 60, 540, 47, 66), 15) << "a number above each bar of ten";
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
