#include "draw.h"

#include <gtest/gtest.h>

#include <numeric>

#include "canvas.h"
#include "shown_name.h"
#include "text_raster.h"

namespace tenfold {
namespace {

bool is(const Image& image, int x, int y, Rgb colour) {
  const uint8_t* p = image.row(y) + 3 * x;
  return p[0] == colour.r && p[1] == colour.g && p[2] == colour.b;
}

TEST(Draw, ASmallPictureIsEnlargedAndItsBoxOutlinedInTheClassColour) {
  const Image image(160, 120, {20, 20, 20});
  const std::vector<DrawnBox> boxes{{40, 40, 80, 80, 2, ""}};
  const Image drawn = draw_boxes(image, boxes, 480);
  EXPECT_EQ(drawn.width, 640);
  EXPECT_EQ(drawn.height, 480);
  for (const auto& [x, y] : {std::pair{160, 240}, {161, 240}, {319, 240}, {240, 160}, {240, 319}})
    EXPECT_TRUE(is(drawn, x, y, class_colour(2))) << x << "," << y;
  EXPECT_TRUE(is(drawn, 240, 240, {20, 20, 20}));
  EXPECT_TRUE(is(drawn, 150, 240, {20, 20, 20}));
}

TEST(Draw, ALargePictureKeepsItsSize) {
  EXPECT_EQ(draw_boxes(Image(800, 600, kGrey), {}, 480).width, 800);
}

TEST(Draw, CaptionsStayWithinThePicture) {
  const Image image(480, 480, {20, 20, 20});
  for (const DrawnBox& box :
       {DrawnBox{0, 0, 40, 40, 1, "ankle boot 0.93"}, DrawnBox{440, 450, 520, 500, 1, "ankle boot 0.93"},
        DrawnBox{-50, -50, 600, 600, 1, std::string(200, 'w')}}) {
    const Image drawn = draw_boxes(image, {&box, 1});
    int coloured = 0;
    for (int y = 0; y < 480; ++y)
      for (int x = 0; x < 480; ++x) coloured += is(drawn, x, y, class_colour(1));
    EXPECT_GT(coloured, 500);
  }
}

TEST(Draw, CaptionsGrowWithThePictureAsLinesDo) {
  // Of the bar behind the caption, its rows above the box.
  const auto bar_height = [](int side) {
    const auto at = [side](float share) { return share * static_cast<float>(side); };
    const DrawnBox box{at(0.25F), at(0.5F), at(0.75F), at(0.75F), 1, "bag"};
    const Image drawn = draw_boxes(Image(side, side, {20, 20, 20}), {&box, 1});
    int rows = 0;
    while (is(drawn, side / 4 + 1, side / 2 - 1 - rows, class_colour(1))) ++rows;
    return rows;
  };
  EXPECT_GE(bar_height(480), 15);
  EXPECT_NEAR(bar_height(1920), 4 * bar_height(480), 4);
}

TEST(Draw, CaptionsSayNameAndScore) {
  EXPECT_EQ(caption("bag"), "bag");
  EXPECT_EQ(caption("bag", 0.876f), "bag 0.88");
}

TEST(Draw, NeighbouringClassesHaveDifferentColours) {
  for (int cls = 0; cls < 20; ++cls)
    for (int other = cls + 1; other < 20; ++other) {
      const Rgb a = class_colour(cls), b = class_colour(other);
      EXPECT_GT(std::abs(a.r - b.r) + std::abs(a.g - b.g) + std::abs(a.b - b.b), 60) << cls << " and " << other;
    }
}

TEST(Draw, AGridHoldsEveryPicture) {
  std::vector<Image> images;
  for (int i = 0; i < 5; ++i) images.emplace_back(100, 50, class_colour(i));
  const Image grid = picture_grid(images, 64);
  EXPECT_EQ(grid.width, 3 * 64 + 2 * 4);
  EXPECT_EQ(grid.height, 2 * 64 + 4);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(is(grid, i % 3 * 68 + 32, i / 3 * 68 + 32, class_colour(i))) << i;
  EXPECT_TRUE(picture_grid({}, 64).empty());
}

/// How dark a text is in all.
int64_t ink_of(const std::string& text) {
  const TextMask mask = rasterise_text(text, 20);
  return std::accumulate(mask.coverage.begin(), mask.coverage.end(), int64_t{0});
}

TEST(TextRaster, EveryCharacterHasAShape) {
  for (char c = '!'; c < 0x7F; ++c) EXPECT_GT(ink_of(std::string(1, c)), 0) << c;
  EXPECT_EQ(ink_of(" "), 0);
  EXPECT_EQ(rasterise_text("", 20).width, 0);
  EXPECT_EQ(rasterise_text("Wg|", 20).height, rasterise_text("a", 20).height) << "lines are equally high";
  EXPECT_EQ(text_size("Wg|", 20).width, rasterise_text("Wg|", 20).width);
  EXPECT_GT(text_size("Wg|", 40).width, 1.9 * text_size("Wg|", 20).width);
}

TEST(TextRaster, WritesTheAlphabetsOfEuropeAndMarksWhatItCannotWrite) {
  const int64_t question = ink_of("?");
  for (const char* word : {"ö", "ß", "Ł", "ж", "Ω", "≥"}) EXPECT_NE(ink_of(word), question) << word;
  EXPECT_EQ(ink_of("\U0001F45C"), question) << "a handbag";
  EXPECT_EQ(ink_of("\n"), question);
  for (const char* malformed : {"\xFF", "\xC3", "\x80", "\xF5"}) EXPECT_EQ(ink_of(malformed), question);
}

TEST(TextRaster, KnowsWhatSaysSomethingWhenItIsDrawn) {
  for (const char* name : {"bag", "Łódź", "собака", "自行车 2", "+", "", "?", "☂\uFE0F"})
    EXPECT_TRUE(is_legible(name)) << name;
  for (const char* name : {"自行车", "自行车-红", "\U0001F45C", "\U0001F45C\uFE0F", "\xFF\xFE"})
    EXPECT_FALSE(is_legible(name)) << name;
}

TEST(ShownName, OnAPictureIsTheNumberWhereTheFontHasNoneOfIt) {
  const std::vector<std::string> names = {"bag", "自行车", "自行车 b", "wide\nbag\t"};
  EXPECT_EQ(name_on_picture(names, 0), "bag");
  EXPECT_EQ(name_on_picture(names, 1), "class 1");
  EXPECT_EQ(name_on_picture(names, 2), "自行车 b") << "what can be drawn is";
  EXPECT_EQ(name_on_picture(names, 3), "wide bag ");
  EXPECT_EQ(name_on_picture(names, 4), "4") << "one without a name";
}

TEST(ShownName, InALineIsOneLine) {
  const std::vector<std::string> names = {"自行车", "a\r\nb", "\x1B[31mred"};
  EXPECT_EQ(name_in_line(names, 0), "自行车");
  EXPECT_EQ(name_in_line(names, 1), "a b");
  EXPECT_EQ(name_in_line(names, 2), " [31mred") << "a name steers no terminal";
}

TEST(Canvas, EdgesBetweenPixelsAreSmoothed) {
  Canvas canvas(Image(4, 4, {0, 0, 0}));
  canvas.fill({0.5, 0, 2, 1}, {{200, 200, 200}});
  EXPECT_TRUE(is(canvas.picture(), 0, 0, {100, 100, 100}));
  EXPECT_TRUE(is(canvas.picture(), 1, 0, {200, 200, 200}));
  EXPECT_TRUE(is(canvas.picture(), 2, 0, {0, 0, 0}));
  EXPECT_TRUE(is(canvas.picture(), 1, 1, {0, 0, 0}));
}

TEST(Canvas, ALineIsAsDarkWhereItCrossesItself) {
  Canvas canvas(Image(40, 40, {255, 255, 255}));
  const std::vector<Point> cross{{2, 20}, {38, 20}, {20, 20}, {20, 2}, {20, 38}};
  canvas.line(cross, {{{0, 0, 0}, 0.5}, 4});
  EXPECT_TRUE(is(canvas.picture(), 19, 19, {128, 128, 128}));
  EXPECT_TRUE(is(canvas.picture(), 30, 20, {128, 128, 128}));
  EXPECT_TRUE(is(canvas.picture(), 30, 30, {255, 255, 255}));
}

TEST(Canvas, DashesLeaveGaps) {
  Canvas canvas(Image(40, 10, {255, 255, 255}));
  const std::vector<Point> bent{{0, 5}, {13, 5}, {40, 5}};  // the bend does not begin a new dash
  canvas.line(bent, {{{0, 0, 0}}, 2, 10});
  EXPECT_TRUE(is(canvas.picture(), 5, 5, {0, 0, 0}));
  EXPECT_TRUE(is(canvas.picture(), 15, 5, {255, 255, 255}));
  EXPECT_TRUE(is(canvas.picture(), 25, 5, {0, 0, 0}));
  EXPECT_TRUE(is(canvas.picture(), 35, 5, {255, 255, 255}));
}

TEST(Canvas, WhatLiesOutsideIsCutOff) {
  Canvas canvas(Image(20, 20, {255, 255, 255}));
  canvas.fill({-50, -50, 5, 5}, {{0, 0, 0}});
  canvas.dot({25, 10}, 4, {{0, 0, 0}});
  canvas.text({18, 10}, "wide", {});
  canvas.text({10, 5}, "high", {.upwards = true});
  const std::vector<Point> far{{-100, 50}, {300, -40}};
  canvas.line(far, {{{0, 0, 0}}, 3});
  EXPECT_TRUE(is(canvas.picture(), 4, 4, {0, 0, 0}));
  EXPECT_TRUE(is(canvas.picture(), 6, 6, {255, 255, 255}));
}

}  // namespace
}  // namespace tenfold
