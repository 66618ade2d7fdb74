#include <algorithm>
#include <cmath>

#include "plot.h"
#include "run_plots.h"
#include "text_raster.h"

namespace tenfold {

namespace {

constexpr int kPanel = 560;
constexpr double kSmallestText = 10;
constexpr double kNumberGap = 4;  // above a bar, pixels

/// What is written below the bars.
struct BarNames {
  std::vector<std::string> texts;
  double text;   // size, pixels
  bool upwards;  // they are too long to stand side by side
  int height;    // pixels

  BarNames(const std::vector<std::string>& names, double slot)
      : texts(names),
        text(std::clamp(slot * 0.7, kSmallestText, kPlotText)),
        upwards(widest(texts, text) + 6 > slot * 0.85) {
    constexpr int kMost = kPanel / 3;
    if (upwards)
      for (std::string& name : texts) name = cut_to_width(name, text, kMost);
    height = (upwards ? widest(texts, text) : line()) + 8;
  }

  int line() const { return text_size("0", text).height; }
  /// Names that are written upwards have room at every so many bars.
  size_t every(double slot) const { return upwards ? static_cast<size_t>(std::max(1.0, std::ceil(line() / slot))) : 1; }
};

/// What is written above the bars: all numbers in one way, or none, for the bar whose number was left out would be the
/// one that has the most.
struct BarNumbers {
  std::vector<std::string> texts;
  bool upwards;   // they are too long to stand side by side
  bool room;      // for them to be there at all
  double height;  // pixels

  BarNumbers(const std::vector<int64_t>& counts, double text, double slot) {
    for (const int64_t count : counts) texts.push_back(std::to_string(count));
    const int width = widest(texts, text);
    upwards = width > slot * 0.85;
    room = !upwards || text < slot * 0.85;  // digits are lower than their line
    height = upwards ? width + 2 * kNumberGap : text_size("0", text).height;
  }
};

/// A bar a class, with its number above it and its name below where there is room.
void draw_histogram(Canvas& canvas, const Rect& area, const std::vector<std::string>& names, const std::vector<int64_t>& counts) {
  const int64_t most = std::max<int64_t>(1, counts.empty() ? 1 : *std::max_element(counts.begin(), counts.end()));
  const auto bars = static_cast<double>(std::max<size_t>(names.size(), 1));
  const BarNames below(names, area.width() / bars);
  const BarNumbers above(counts, below.text, area.width() / bars);
  constexpr double kTitleAndAxis = 64;
  const double height = area.height() - below.height - kTitleAndAxis;
  const double spare = above.room ? height / (height - above.height) : 1.08;
  const Plot plot(canvas, {area.left, area.top, area.right, area.bottom - below.height}, "objects of each class",
                  {.label = "", .high = static_cast<double>(names.size()), .numbers = false},
                  {.label = "", .high = spare * static_cast<double>(most), .whole = true});
  const double slot = plot.inside().width() / bars;
  const size_t every = below.every(slot);
  for (size_t i = 0; i < names.size(); ++i) {
    const auto x = static_cast<double>(i);
    const Point foot = plot.pixel(x + 0.12, 0), head = plot.pixel(x + 0.88, static_cast<double>(counts[i]));
    canvas.fill({foot.x, head.y, head.x, foot.y}, {line_colour(0)});
    const double middle = (foot.x + head.x) / 2;
    if (above.room)
      canvas.text({middle, head.y - (above.upwards ? kNumberGap : above.height / 2)}, above.texts[i],
                  {.size = below.text,
                   .colour = kPlotInk,
                   .align = above.upwards ? Align::left : Align::centre,
                   .upwards = above.upwards});
    if (i % every != 0) continue;
    const Point at{middle, below.upwards ? foot.y + 8 : foot.y + 6 + below.line() / 2.0};
    canvas.text(at, below.texts[i],
                {.size = below.text,
                 .colour = kPlotInk,
                 .align = below.upwards ? Align::right : Align::centre,
                 .upwards = below.upwards});
  }
}

/// Centres of boxes, counted in `side` x `side` cells, rows from the top.
std::vector<int64_t> count_centres(const std::vector<Label>& boxes, int side) {
  std::vector<int64_t> cells(static_cast<size_t>(side) * static_cast<size_t>(side), 0);
  const auto bin = [side](float at) {
    return static_cast<size_t>(std::clamp(static_cast<int>(at * static_cast<float>(side)), 0, side - 1));
  };
  for (const Label& box : boxes) ++cells[bin(box.cy) * static_cast<size_t>(side) + bin(box.cx)];
  return cells;
}

/// Roots of the counts: of a few objects something is to be seen too.
void draw_heat_map(Canvas& canvas, const Rect& area, const std::vector<Label>& boxes) {
  const Plot plot(canvas, area, "centres of boxes", {.label = "x, of the picture's width"},
                  {.label = "y, of its height", .low = 1, .high = 0});
  // The fewer boxes, the larger the cells: else it would be a map of chance.
  const int side = std::clamp(static_cast<int>(std::sqrt(static_cast<double>(boxes.size())) / 2), 10, 60);
  const std::vector<int64_t> cells = count_centres(boxes, side);
  const double most = std::sqrt(static_cast<double>(std::max<int64_t>(1, *std::max_element(cells.begin(), cells.end()))));
  const Rect& inside = plot.inside();
  // On whole pixels, or the cells would have seams.
  const auto edge = [side](double from, double length, int i) { return std::round(from + length * i / side); };
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      const int64_t count = cells[static_cast<size_t>(y) * static_cast<size_t>(side) + static_cast<size_t>(x)];
      if (count == 0) continue;
      canvas.fill({edge(inside.left, inside.width(), x), edge(inside.top, inside.height(), y),
                   edge(inside.left, inside.width(), x + 1), edge(inside.top, inside.height(), y + 1)},
                  {heat_colour(0.15 + 0.85 * std::sqrt(static_cast<double>(count)) / most)});
    }
}

/// Of many boxes those are drawn that lie evenly among them.
void draw_sizes(Canvas& canvas, const Rect& area, const std::vector<Label>& boxes) {
  Plot plot(canvas, area, "sizes of boxes", {.label = "width, of the picture's"}, {.label = "height, of the picture's"});
  constexpr size_t kMost = 20'000;
  const size_t step = boxes.size() / kMost + 1;
  const double drawn = static_cast<double>(boxes.size()) / static_cast<double>(step);
  const double opacity = std::clamp(6 / std::sqrt(drawn + 1), 0.06, 0.6);
  for (size_t i = 0; i < boxes.size(); i += step)
    plot.dot(static_cast<double>(boxes[i].w), static_cast<double>(boxes[i].h), 2.5, {{23, 100, 171}, opacity});
}

}  // namespace

LabelStatistics::LabelStatistics(const std::vector<std::string>& names) : counts_(names.size(), 0) {
  for (size_t cls = 0; cls < names.size(); ++cls) names_.push_back(class_name(names, static_cast<int>(cls)));
}

void LabelStatistics::add(std::span<const Label> labels_of_an_image) {
  for (const Label& label : labels_of_an_image) {
    if (const auto cls = static_cast<size_t>(label.cls); cls < counts_.size()) ++counts_[cls];
    boxes_.push_back(label);
  }
}

Image LabelStatistics::plot() const {
  Canvas canvas(Image(3 * kPanel, kPanel, kPaper));
  const auto panel = [](int i) {
    return Rect{i * kPanel + kPlotMargin + 0.0, kPlotMargin + 0.0, (i + 1) * kPanel + 0.0, kPanel - kPlotMargin + 0.0};
  };
  draw_histogram(canvas, panel(0), names_, counts_);
  draw_heat_map(canvas, panel(1), boxes_);
  draw_sizes(canvas, panel(2), boxes_);
  return canvas.take();
}

}  // namespace tenfold
