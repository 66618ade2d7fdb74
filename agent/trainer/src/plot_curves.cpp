#include <algorithm>
#include <array>
#include <cstdio>

#include "plot.h"
#include "run_plots.h"

namespace tenfold {

namespace {

constexpr int kWidth = 1180, kHeight = 760, kLegendWidth = 330;
/// More classes are not named, nor told apart by colour.
constexpr size_t kMostNamed = 20;

std::string curve_text(const char* pattern, auto... values) {
  std::array<char, 128> text;
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

struct Labels {
  const char* title;
  const char* x;
  const char* y;
};

Labels labels_of(Curve curve) {
  switch (curve) {
    case Curve::precision_recall:
      return {"Precision-recall curve at IoU 0.50", "recall", "precision"};
    case Curve::f1:
      return {"F1-confidence curve at IoU 0.50", "confidence", "F1"};
    case Curve::precision:
      return {"Precision-confidence curve at IoU 0.50", "confidence", "precision"};
    case Curve::recall:
      return {"Recall-confidence curve at IoU 0.50", "confidence", "recall"};
  }
  return {};
}

/// The curve of one class, at even steps over 0 to 1.
std::vector<double> values_of(const ClassCurves& of_class, Curve curve) {
  const ConfidenceCurve& by_confidence = of_class.by_confidence;
  if (curve == Curve::precision_recall) return of_class.precision_at_recall;
  if (curve == Curve::precision) return by_confidence.precision;
  if (curve == Curve::recall) return by_confidence.recall;
  std::vector<double> f1;
  for (size_t i = 0; i < kConfidences; ++i) f1.push_back(by_confidence.f1(i));
  return f1;
}

std::vector<std::vector<double>> curves_of(const Metrics& metrics, Curve curve) {
  std::vector<std::vector<double>> curves;
  for (const ClassCurves& of_class : metrics.curves) curves.push_back(values_of(of_class, curve));
  return curves;
}

std::vector<Point> points_of(const std::vector<double>& values) {
  std::vector<Point> points;
  for (size_t i = 0; i < values.size(); ++i)
    points.push_back({static_cast<double>(i) / static_cast<double>(values.size() - 1), values[i]});
  return points;
}

std::vector<double> mean_curve(const std::vector<std::vector<double>>& curves) {
  std::vector<double> mean(curves.empty() ? 0 : curves[0].size(), 0.0);
  for (const auto& curve : curves)
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += curve[i] / static_cast<double>(curves.size());
  return mean;
}

}  // namespace

std::string curve_summary(const Metrics& metrics, Curve curve) {
  if (curve == Curve::precision_recall) return curve_text("all classes  mAP50 %.3f", metrics.map50);
  if (metrics.curves.empty()) return "all classes";
  if (curve == Curve::f1) return curve_text("all classes  %.2f at %.3f", metrics.f1, metrics.confidence);
  const std::vector<double> mean = mean_curve(curves_of(metrics, curve));
  if (curve == Curve::recall) return curve_text("all classes  %.2f at 0", mean[0]);
  const auto best = std::max_element(mean.begin(), mean.end());
  return curve_text("all classes  %.2f at %.3f", *best, confidence_at(static_cast<size_t>(best - mean.begin())));
}

Image curve_plot(const Metrics& metrics, Curve curve, const std::vector<std::string>& names) {
  const Labels labels = labels_of(curve);
  Canvas canvas(Image(kWidth, kHeight, kPaper));
  Plot plot(canvas, {kPlotMargin, kPlotMargin, kWidth - kLegendWidth, kHeight - kPlotMargin}, labels.title, {labels.x}, {labels.y});
  const bool named = metrics.classes.size() <= kMostNamed;
  const std::vector<std::vector<double>> curves = curves_of(metrics, curve);
  std::vector<LegendEntry> legend;
  for (size_t i = 0; i < curves.size(); ++i) {
    // After ten classes the colours come again, dashed.
    const Stroke stroke = named ? Stroke{{line_colour(i)}, 1.6, i >= 10 ? 6.0 : 0.0} : Stroke{{{150, 155, 165}, 0.6}, 1};
    plot.line(points_of(curves[i]), stroke);
    const ClassMetrics& of_class = metrics.classes[i];
    if (named) {
      const std::string name = class_name(names, of_class.cls);
      legend.push_back({curve == Curve::precision_recall ? name + curve_text("  %.3f", of_class.ap50()) : name, stroke});
    }
  }
  const Stroke stroke{{{15, 45, 130}}, 4};
  plot.line(points_of(mean_curve(curves)), stroke);
  legend.insert(legend.begin(), {curve_summary(metrics, curve), stroke});
  if (!named) legend.push_back({curve_text("%zu classes", metrics.classes.size()), {{{150, 155, 165}, 0.6}, 1}});
  draw_legend(canvas, {kWidth - kLegendWidth + 8.0, plot.inside().top}, legend);
  return canvas.take();
}

}  // namespace tenfold
