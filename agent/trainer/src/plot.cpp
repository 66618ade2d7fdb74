#include "plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "shown_name.h"
#include "text_raster.h"

namespace tenfold {

namespace {

constexpr double kTickLength = 5;
constexpr double kTickGap = 6;  // between ticks, numbers and labels
constexpr double kLegendLine = 26, kLegendMargin = 8;

/// Numbers of an axis with their places, told apart by as many digits as their step needs.
struct Ticks {
  std::vector<double> values;
  std::vector<std::string> texts;
};

Ticks ticks_of(const Axis& axis, int about) {
  if (!axis.numbers) return {};
  Ticks ticks{axis.whole ? whole_ticks(axis.low, axis.high, about) : round_ticks(axis.low, axis.high, about), {}};
  const double step = ticks.values.size() > 1 ? ticks.values[1] - ticks.values[0] : 1;
  for (const double value : ticks.values) ticks.texts.push_back(tick_text(value, step));
  return ticks;
}

}  // namespace

int widest(const std::vector<std::string>& texts, double size) {
  int width = 0;
  for (const std::string& text : texts) width = std::max(width, text_size(text, size).width);
  return width;
}

std::vector<double> round_ticks(double low, double high, int about) {
  if (low > high) std::swap(low, high);
  const double raw = (high - low) / std::max(about, 1);
  if (!(raw > 0) || !std::isfinite(raw)) return {low};
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double lead = raw / power;
  const double step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
  std::vector<double> ticks;
  const double slack = step * 1e-9;
  for (double n = std::ceil((low - slack) / step); n * step <= high + slack; ++n) ticks.push_back(n * step + 0.0);
  return ticks;
}

std::vector<double> whole_ticks(double low, double high, int about) {
  std::vector<double> ticks = round_ticks(low, high, about);
  std::erase_if(ticks, [](double value) { return value != std::round(value); });
  return ticks;
}

std::string tick_text(double value, double step) {
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 8);
  std::array<char, 64> text;
  if (digits > 5 || std::abs(value) >= 1e6) {
    std::snprintf(text.data(), text.size(), "%.3g", value);
  } else {
    std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  }
  return text.data();
}

Plot::Plot(Canvas& canvas, const Rect& area, const std::string& title, Axis x, Axis y)
    : canvas_(canvas), x_(std::move(x)), y_(std::move(y)) {
  const double line = text_size("0", kPlotText).height;
  const Ticks y_ticks = ticks_of(y_, static_cast<int>(area.height() / 55));
  inside_.left = area.left + (y_.label.empty() ? 0 : line + kTickGap) + widest(y_ticks.texts, kPlotText) + kTickGap + kTickLength;
  inside_.top = area.top + (title.empty() ? line / 2 : text_size(title, kPlotTitle).height + kTickGap);
  inside_.right = area.right - line;
  inside_.bottom = area.bottom - (x_.label.empty() ? 0 : line + kTickGap) - line - kTickGap - kTickLength;
  for (double* edge : {&inside_.left, &inside_.top, &inside_.right, &inside_.bottom}) *edge = std::round(*edge);
  const double middle = (inside_.left + inside_.right) / 2;
  canvas.text({middle, area.top + text_size(title, kPlotTitle).height / 2.0}, title,
              {.size = kPlotTitle, .colour = kPlotInk, .align = Align::centre});
  draw_x_axis(x_, area);
  draw_y_axis(y_, area);
  canvas.fill({inside_.left - 1, inside_.top, inside_.left, inside_.bottom + 1}, {kPlotInk});
  canvas.fill({inside_.left - 1, inside_.bottom, inside_.right, inside_.bottom + 1}, {kPlotInk});
}

void Plot::draw_x_axis(const Axis& axis, const Rect& area) {
  // Numbers must not touch each other: fewer until they do not.
  int about = std::max(2, static_cast<int>(inside_.width() / 70));
  Ticks ticks = ticks_of(axis, about);
  while (about > 1 && (widest(ticks.texts, kPlotText) + kPlotText) * static_cast<double>(ticks.values.size()) > inside_.width())
    ticks = ticks_of(axis, --about);
  const double line = text_size("0", kPlotText).height;
  for (size_t i = 0; i < ticks.values.size(); ++i) {
    const double x = std::round(pixel(ticks.values[i], axis.low).x);
    canvas_.fill({x, inside_.top, x + 1, inside_.bottom}, {kPlotFaint});
    canvas_.fill({x, inside_.bottom, x + 1, inside_.bottom + kTickLength}, {kPlotInk});
    canvas_.text({x + 0.5, inside_.bottom + kTickLength + kTickGap / 2 + line / 2}, ticks.texts[i],
                 {.size = kPlotText, .colour = kPlotInk, .align = Align::centre});
  }
  canvas_.text({(inside_.left + inside_.right) / 2, area.bottom - line / 2}, axis.label,
               {.size = kPlotText, .colour = kPlotInk, .align = Align::centre});
}

void Plot::draw_y_axis(const Axis& axis, const Rect& area) {
  const Ticks ticks = ticks_of(axis, static_cast<int>(area.height() / 55));
  for (size_t i = 0; i < ticks.values.size(); ++i) {
    const double y = std::round(pixel(x_.low, ticks.values[i]).y);
    canvas_.fill({inside_.left, y, inside_.right, y + 1}, {kPlotFaint});
    canvas_.fill({inside_.left - kTickLength, y, inside_.left, y + 1}, {kPlotInk});
    canvas_.text({inside_.left - kTickLength - kTickGap / 2, y + 0.5}, ticks.texts[i],
                 {.size = kPlotText, .colour = kPlotInk, .align = Align::right});
  }
  const double line = text_size("0", kPlotText).height;
  canvas_.text({area.left + line / 2, (inside_.top + inside_.bottom) / 2}, axis.label,
               {.size = kPlotText, .colour = kPlotInk, .align = Align::centre, .upwards = true});
}

Point Plot::pixel(double x, double y) const {
  const auto share = [](double value, const Axis& axis) { return (value - axis.low) / (axis.high - axis.low); };
  return {inside_.left + share(x, x_) * inside_.width(), inside_.bottom - share(y, y_) * inside_.height()};
}

void Plot::line(std::span<const Point> points, const Stroke& stroke) {
  std::vector<Point> seen;
  for (const Point& point : points) {
    const Point at = pixel(point.x, std::clamp(point.y, y_.low, y_.high));
    // Points within a third of a pixel would not be seen, and there may be a thousand of them.
    if (seen.empty() || std::hypot(at.x - seen.back().x, at.y - seen.back().y) > 0.3 || &point == &points.back())
      seen.push_back(at);
  }
  canvas_.line(seen, stroke);
}

void Plot::dot(double x, double y, double radius, const Ink& ink) {
  canvas_.dot(pixel(x, y), radius, ink);
}

Point legend_size(std::span<const LegendEntry> entries, double text) {
  double width = 0, height = 0;
  for (const LegendEntry& entry : entries) {
    const TextSize size = text_size(entry.text, text);
    width = std::max(width, static_cast<double>(size.width));
    height += size.height + 2;
  }
  return {width + kLegendLine + 3 * kLegendMargin, height + 2 * kLegendMargin};
}

void draw_legend(Canvas& canvas, const Point& top_left, std::span<const LegendEntry> entries, double text) {
  if (entries.empty()) return;
  const Point size = legend_size(entries, text);
  const Rect box{std::round(top_left.x), std::round(top_left.y), std::round(top_left.x + size.x), std::round(top_left.y + size.y)};
  canvas.fill(box, {kPaper, 0.85});
  canvas.frame(box, 1, {kPlotFaint});
  double y = box.top + kLegendMargin;
  for (const LegendEntry& entry : entries) {
    const double height = text_size(entry.text, text).height + 2;
    const Point ends[] = {{box.left + kLegendMargin, y + height / 2}, {box.left + kLegendMargin + kLegendLine, y + height / 2}};
    canvas.line(ends, entry.stroke);
    canvas.text({ends[1].x + kLegendMargin, y + height / 2}, entry.text, {.size = text, .colour = kPlotInk});
    y += height;
  }
}

std::string class_name(const std::vector<std::string>& names, int cls) {
  constexpr size_t kLongest = 28;
  return cut_in_middle(name_on_picture(names, cls), kLongest);
}

std::string cut_in_middle(const std::string& text, size_t most) {
  std::vector<size_t> starts;  // of characters
  for (size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80) starts.push_back(i);
  if (starts.size() <= most) return text;
  const size_t head = most / 2, tail = most - 1 - head;
  return text.substr(0, starts[head]) + "…" + (tail == 0 ? "" : text.substr(starts[starts.size() - tail]));
}

std::string cut_to_width(const std::string& text, double size, double width) {
  std::string cut = text;
  for (size_t most = text.size(); most > 1 && text_size(cut, size).width > width; --most)
    cut = cut_in_middle(text, most - 1);
  return cut;
}

Rgb heat_colour(double share) {
  // Points of a blue scale between white and near black.
  static constexpr std::array<Rgb, 6> kStops{
      {{247, 251, 255}, {208, 225, 242}, {148, 196, 223}, {74, 152, 201}, {23, 100, 171}, {8, 48, 107}}};
  const double at = std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0) * (kStops.size() - 1);
  const auto below = std::min(static_cast<size_t>(at), kStops.size() - 2);
  const double part = at - static_cast<double>(below);
  const auto mix = [part](uint8_t a, uint8_t b) { return static_cast<uint8_t>(std::lround(a + (b - a) * part)); };
  const Rgb a = kStops[below], b = kStops[below + 1];
  return {mix(a.r, b.r), mix(a.g, b.g), mix(a.b, b.b)};
}

Rgb line_colour(size_t i) {
  static constexpr std::array<Rgb, 10> kColours{{{31, 119, 180},
                                                 {230, 115, 10},
                                                 {44, 150, 60},
                                                 {200, 40, 50},
                                                 {130, 90, 180},
                                                 {130, 80, 65},
                                                 {215, 100, 180},
                                                 {100, 100, 100},
                                                 {165, 165, 20},
                                                 {20, 170, 190}}};
  return kColours[i % kColours.size()];
}

}  // namespace tenfold
