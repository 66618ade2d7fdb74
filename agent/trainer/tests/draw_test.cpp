#include "draw.h"

#include <gtest/gtest.h>

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

TEST(TextRaster, EveryCharacterHasAShapeAndForeignOnesAQuestionMark) {
  for (char c = '!'; c < 0x7F; ++c) EXPECT_FALSE(rasterise_text(std::string(1, c), 1).empty()) << c;
  EXPECT_EQ(text_size("größe", 2).width, text_size("gr??e", 2).width);
  EXPECT_EQ(rasterise_text("\xF0\x9F\x91\x9C", 1).size(), rasterise_text("?", 1).size());
  EXPECT_TRUE(rasterise_text("", 1).empty());
  const TextSize size = text_size("Wg|", 3);
  for (const TextPixels& part : rasterise_text("Wg|", 3)) {
    EXPECT_GE(part.left, 0);
    EXPECT_LE(part.right, size.width);
    EXPECT_LE(part.bottom, size.height);
    EXPECT_LT(part.left, part.right);
  }
}

}  // namespace
}  // namespace tenfold
