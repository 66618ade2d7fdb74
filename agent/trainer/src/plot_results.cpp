#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "plot.h"
#include "run_plots.h"
#include "schedule.h"

namespace tenfold {

namespace {

constexpr int kPanelWidth = 500, kPanelHeight = 380, kColumns = 3;

/// One line of a panel: a value an epoch, NaN where there is none.
struct Track {
  std::string name;
  Rgb colour;
  std::function<double(const EpochRow&)> value;
};

struct Panel {
  std::string title;
  std::vector<Track> tracks;
  bool is_share = false;  // values of 0 to 1
};

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::vector<Panel> panels_of(const LossItems& losses) {
  std::vector<Panel> panels;
  for (size_t i = 0; i < losses.size(); ++i) {
    panels.push_back({losses[i].name + " loss",
                      {{"train", line_colour(0), [i](const EpochRow& row) { return row.train.at(i).value; }},
                       {"val", line_colour(1), [i](const EpochRow& row) { return row.val ? row.val->at(i).value : kNone; }}}});
  }
  const auto metric = [](double MetricSummary::*member) {
    return [member](const EpochRow& row) { return row.metrics ? (*row.metrics).*member : kNone; };
  };
  panels.push_back({"precision and recall",
                    {{"precision", line_colour(0), metric(&MetricSummary::precision)},
                     {"recall", line_colour(1), metric(&MetricSummary::recall)}},
                    true});
  panels.push_back({"mean average precision",
                    {{"mAP50", line_colour(0), metric(&MetricSummary::map50)},
                     {"mAP50-95", line_colour(1), metric(&MetricSummary::map50_95)}},
                    true});
  Panel rates{"learning rate", {}};
  const std::pair<const char*, size_t> groups[] = {{"weights", kWeights}, {"norms", kNorms}, {"biases", kBiases}};
  for (const auto& [name, group] : groups)
    rates.tracks.push_back({name, line_colour(rates.tracks.size()), [i = group](const EpochRow& row) { return row.lr[i]; }});
  panels.push_back(std::move(rates));
  return panels;
}

Axis value_axis(const Panel& panel, const std::vector<EpochRow>& history) {
  if (panel.is_share) return {"", 0, 1};
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Track& track : panel.tracks)
    for (const EpochRow& row : history)
      if (const double value = track.value(row); std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  if (!(low <= high)) return {"", 0, 1};
  const double margin = high > low ? 0.06 * (high - low) : std::max(0.1 * std::abs(high), 1e-6);
  return {"", low >= 0 ? std::max(0.0, low - margin) : low - margin, high + margin};
}

/// How much of the lines would lie behind a legend.
int hidden_behind(const Rect& legend, const Plot& plot, const std::vector<std::vector<Point>>& lines) {
  constexpr int kStepsBetween = 8;
  int hidden = 0;
  for (const auto& line : lines)
    for (size_t i = 1; i < line.size(); ++i)
      for (int step = 0; step <= kStepsBetween; ++step) {
        const double part = static_cast<double>(step) / kStepsBetween;
        const Point at = plot.pixel(line[i - 1].x + part * (line[i].x - line[i - 1].x),
                                    line[i - 1].y + part * (line[i].y - line[i - 1].y));
        hidden += at.x >= legend.left && at.x <= legend.right && at.y >= legend.top && at.y <= legend.bottom ? 1 : 0;
      }
  return hidden;
}

/// The top left corner of a legend in that corner of the plot where it hides least.
Point place_for_legend(const Point& size, const Plot& plot, const std::vector<std::vector<Point>>& lines) {
  constexpr double kMarginInside = 8;
  const Rect& inside = plot.inside();
  const double left = inside.left + kMarginInside, right = inside.right - kMarginInside - size.x;
  const double top = inside.top + kMarginInside, bottom = inside.bottom - kMarginInside - size.y;
  const Point corners[] = {{right, top}, {right, bottom}, {left, top}, {left, bottom}};
  const auto hidden = [&](const Point& at) { return hidden_behind({at.x, at.y, at.x + size.x, at.y + size.y}, plot, lines); };
  return *std::min_element(std::begin(corners), std::end(corners),
                           [&](const Point& a, const Point& b) { return hidden(a) < hidden(b); });
}

void draw_panel(Canvas& canvas, const Rect& area, const Panel& panel, const std::vector<EpochRow>& history) {
  const double first = history.empty() ? 0 : static_cast<double>(history.front().epoch);
  const double last = history.empty() ? 1 : static_cast<double>(history.back().epoch);
  Plot plot(canvas, area, panel.title, {"epoch", first, std::max(last, first + 1), true}, value_axis(panel, history));
  std::vector<LegendEntry> legend;
  std::vector<std::vector<Point>> lines;
  // From the last: the first track is the one that matters most, and lies on top.
  for (size_t i = panel.tracks.size(); i-- > 0;) {
    const Track& track = panel.tracks[i];
    std::vector<Point> points;
    for (const EpochRow& row : history)
      if (const double value = track.value(row); std::isfinite(value)) points.push_back({static_cast<double>(row.epoch), value});
    if (points.empty()) continue;
    const Stroke stroke{{track.colour}, 2.2};
    plot.line(points, stroke);
    constexpr size_t kFewEpochs = 40;
    if (points.size() <= kFewEpochs)
      for (const Point& point : points) plot.dot(point.x, point.y, 3, {track.colour});
    legend.insert(legend.begin(), {track.name, stroke});
    lines.push_back(std::move(points));
  }
  draw_legend(canvas, place_for_legend(legend_size(legend), plot, lines), legend);
}

}  // namespace

Image results_plot(const std::vector<EpochRow>& history) {
  const std::vector<Panel> panels = panels_of(history.empty() ? LossItems{} : history.front().train);
  const int rows = (static_cast<int>(panels.size()) + kColumns - 1) / kColumns;
  Canvas canvas(Image(kColumns * kPanelWidth, rows * kPanelHeight, kPaper));
  for (size_t i = 0; i < panels.size(); ++i) {
    const int left = static_cast<int>(i) % kColumns * kPanelWidth, top = static_cast<int>(i) / kColumns * kPanelHeight;
    draw_panel(canvas, {left + kPlotMargin + 0.0, top + kPlotMargin + 0.0, left + kPanelWidth - 0.0, top + kPanelHeight - kPlotMargin / 2.0},
               panels[i], history);
  }
  return canvas.take();
}

}  // namespace tenfold
