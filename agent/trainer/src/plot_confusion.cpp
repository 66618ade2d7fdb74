#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

#include "plot.h"
#include "run_plots.h"
#include "text_raster.h"

namespace tenfold {

namespace {

constexpr int kNameGap = 8, kBarWidth = 22, kBarGap = 26;
/// Smaller cells have no numbers in them.
constexpr int kSmallestWithNumber = 34;

/// Sizes in pixels, all following from the number of classes and the length of their names.
struct Layout {
  int cell;
  double text;
  int names_width;  // the longest name, written across
  int left, top;    // of the first cell

  Layout(size_t rows, const std::vector<std::string>& names)
      : cell(std::clamp(static_cast<int>(720 / rows), 9, 100)), text(std::clamp(cell * 0.7, 8.0, kPlotText)) {
    names_width = 0;
    for (const std::string& name : names) names_width = std::max(names_width, text_size(name, text).width);
    const int line = text_size("0", kPlotText).height;
    left = kPlotMargin + line + kNameGap + names_width + kNameGap;
    top = kPlotMargin + text_size("0", kPlotTitle).height + line + 2 * kNameGap;
  }
};

std::string cell_text(const char* pattern, auto value) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), pattern, value);
  return text.data();
}

/// What a cell stands for; nothing where there is nothing: detections of nothing that is nothing are not counted.
std::optional<double> cell_value(const ConfusionMatrix& confusion, int predicted, int actual, bool normalised) {
  const auto count = static_cast<double>(confusion.count(predicted, actual));
  if (!normalised) return count;
  const auto total = static_cast<double>(confusion.total(actual));
  return total > 0 ? std::optional(count / total) : std::nullopt;
}

/// A count in at most four characters.
std::string count_text(double count) {
  if (count < 10'000) return cell_text("%.0f", count);
  return count < 999'500 ? cell_text("%.0fk", count / 1e3) : cell_text("%.1fM", count / 1e6);
}

void draw_cells(Canvas& canvas, const Layout& at, const ConfusionMatrix& confusion, bool normalised, double most) {
  const int rows = confusion.classes() + 1;
  for (int predicted = 0; predicted < rows; ++predicted)
    for (int actual = 0; actual < rows; ++actual) {
      const double left = at.left + actual * at.cell, top = at.top + predicted * at.cell;
      const double value = cell_value(confusion, predicted, actual, normalised).value_or(0);
      const double share = most > 0 ? value / most : 0;
      canvas.fill({left, top, left + at.cell - 1, top + at.cell - 1}, {heat_colour(share)});
      if (value <= 0 || at.cell < kSmallestWithNumber) continue;
      canvas.text({left + at.cell / 2.0, top + at.cell / 2.0}, normalised ? cell_text("%.2f", value) : count_text(value),
                  {.size = std::min(kPlotText + 1, at.cell * 0.36),
                   .colour = share > 0.5 ? kPaper : kPlotInk,
                   .align = Align::centre});
    }
}

void draw_names(Canvas& canvas, const Layout& at, const std::vector<std::string>& names) {
  const double bottom = at.top + static_cast<double>(names.size()) * at.cell;
  for (size_t i = 0; i < names.size(); ++i) {
    const double middle = (static_cast<double>(i) + 0.5) * at.cell;
    canvas.text({at.left - kNameGap + 0.0, at.top + middle}, names[i], {.size = at.text, .colour = kPlotInk, .align = Align::right});
    // Its end below the cell: written upwards, a name ends where the cells begin.
    const double start = bottom + kNameGap + text_size(names[i], at.text).width;
    canvas.text({at.left + middle, start}, names[i], {.size = at.text, .colour = kPlotInk, .upwards = true});
  }
}

void draw_colour_bar(Canvas& canvas, const Rect& bar, double most, bool normalised) {
  for (double y = bar.top; y < bar.bottom; ++y)
    canvas.fill({bar.left, y, bar.right, y + 1}, {heat_colour((bar.bottom - y) / bar.height())});
  canvas.frame(bar, 1, {kPlotFaint});
  const auto values = normalised ? round_ticks(0, most, 5) : whole_ticks(0, most, 5);
  for (const double value : values) {
    const double y = bar.bottom - value / most * bar.height();
    canvas.text({bar.right + kNameGap, y}, normalised ? cell_text("%.1f", value) : count_text(value), {.size = kPlotText, .colour = kPlotInk});
  }
}

double largest_value(const ConfusionMatrix& confusion, bool normalised) {
  if (normalised) return 1;
  int64_t most = 1;
  for (int predicted = 0; predicted <= confusion.classes(); ++predicted)
    for (int actual = 0; actual <= confusion.classes(); ++actual) most = std::max(most, confusion.count(predicted, actual));
  return static_cast<double>(most);
}

}  // namespace

Image confusion_plot(const ConfusionMatrix& confusion, const std::vector<std::string>& names, bool normalised) {
  std::vector<std::string> all;
  for (int cls = 0; cls < confusion.classes(); ++cls) all.push_back(class_name(names, cls));
  all.emplace_back("background");
  const Layout at(all.size(), all);
  const int side = static_cast<int>(all.size()) * at.cell;
  const int line = text_size("0", kPlotText).height;
  const int bar_left = at.left + side + kBarGap;
  Canvas canvas(Image(bar_left + kBarWidth + kNameGap + text_size("0000", kPlotText).width + kPlotMargin,
                      at.top + side + kNameGap + at.names_width + kNameGap + line + kPlotMargin, kPaper));
  const double most = largest_value(confusion, normalised);
  const double middle = at.left + side / 2.0;
  canvas.text({middle, kPlotMargin + text_size("0", kPlotTitle).height / 2.0},
              normalised ? "Confusion matrix, by share of the actual class" : "Confusion matrix",
              {.size = kPlotTitle, .colour = kPlotInk, .align = Align::centre});
  canvas.text({middle, at.top - kNameGap - line / 2.0}, cell_text("IoU above %.2f, confidence from 0.25", ConfusionMatrix::kOverlap),
              {.size = kPlotText - 2, .colour = {110, 114, 122}, .align = Align::centre});
  draw_cells(canvas, at, confusion, normalised, most);
  draw_names(canvas, at, all);
  draw_colour_bar(canvas, {bar_left + 0.0, at.top + 0.0, bar_left + kBarWidth + 0.0, at.top + side - 1.0}, most, normalised);
  canvas.text({middle, canvas.height() - kPlotMargin - line / 2.0}, "actual", {.size = kPlotText, .colour = kPlotInk, .align = Align::centre});
  canvas.text({kPlotMargin + line / 2.0, at.top + side / 2.0}, "predicted",
              {.size = kPlotText, .colour = kPlotInk, .align = Align::centre, .upwards = true});
  return canvas.take();
}

}  // namespace tenfold
