// A pair of axes on a canvas, and what is drawn between them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "canvas.h"

namespace tenfold {

/// What a plot's text is set in, pixels.
inline constexpr double kPlotText = 15;
inline constexpr double kPlotTitle = 19;
inline constexpr int kPlotMargin = 16;

inline constexpr Rgb kPaper{255, 255, 255};
inline constexpr Rgb kPlotInk{45, 48, 56};
inline constexpr Rgb kPlotFaint{225, 228, 233};

struct Axis {
  std::string label;
  double low = 0;
  double high = 1;
  bool whole = false;   ///< numbers at whole values alone
  bool numbers = true;  ///< no: no numbers, ticks or grid lines
};

/// The width in pixels of the widest of some texts.
int widest(const std::vector<std::string>& texts, double size);

/// Round numbers between `low` and `high`, some `about` of them: steps of 1, 2 or 5 times a power of ten.
std::vector<double> round_ticks(double low, double high, int about);

/// Those of them that are whole numbers: for counts.
std::vector<double> whole_ticks(double low, double high, int about);

/// As few digits as tell numbers apart that are multiples of `step`.
std::string tick_text(double value, double step);

/// An entry of a legend.
struct LegendEntry {
  std::string text;
  Stroke stroke;
};

/// Axes, grid, numbers and labels within `area`. Points are given in the axes' units.
class Plot {
 public:
  Plot(Canvas& canvas, const Rect& area, const std::string& title, Axis x, Axis y);

  /// Where the axes span their ranges, in pixels.
  const Rect& inside() const { return inside_; }
  Point pixel(double x, double y) const;

  void line(std::span<const Point> points, const Stroke& stroke);
  void dot(double x, double y, double radius, const Ink& ink);

 private:
  void draw_x_axis(const Axis& axis, const Rect& area);
  void draw_y_axis(const Axis& axis, const Rect& area);

  Canvas& canvas_;
  Axis x_, y_;
  Rect inside_;
};

/// Lines of text with a piece of their stroke before them, from `top_left` down, on a bright ground.
void draw_legend(Canvas& canvas, const Point& top_left, std::span<const LegendEntry> entries, double text = kPlotText);
/// Pixels that it takes.
Point legend_size(std::span<const LegendEntry> entries, double text = kPlotText);

/// The name of a class as name_on_picture has it; long ones are cut.
std::string class_name(const std::vector<std::string>& names, int cls);

/// At most `most` characters of UTF-8 text, at least one: an ellipsis stands for those in the middle that there are
/// more. Names of classes often differ at their ends alone.
std::string cut_in_middle(const std::string& text, size_t most);
/// The same for `width` pixels of text whose font size is `size` pixels.
std::string cut_to_width(const std::string& text, double size, double width);

/// White to dark blue for 0 to 1, as a heat map's colours: brightness falls all the way.
Rgb heat_colour(double share);

/// Colours of lines on paper that are told apart even by those who see few colours; they repeat after ten.
Rgb line_colour(size_t i);

}  // namespace tenfold
