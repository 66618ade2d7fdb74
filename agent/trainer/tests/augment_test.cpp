#include "augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "data_fixtures.h"
#include "hsv.h"
#include "picture_store.h"

namespace tenfold {
namespace {

constexpr int kCanvas = 128;
constexpr int kScenes = 12;

/// A network input in memory, with its labels.
struct Input {
  std::vector<uint8_t> planes = std::vector<uint8_t>(3 * kCanvas * kCanvas);
  std::vector<Label> labels;
  LetterboxInfo info;

  PlanarOut out() { return {planes.data(), kCanvas, kCanvas}; }
  Rgb at(int x, int y) const {
    const size_t i = static_cast<size_t>(y * kCanvas + x);
    return {planes[i], planes[kCanvas * kCanvas + i], planes[2 * kCanvas * kCanvas + i]};
  }
  bool shows(int cls, int x, int y) const { return testing::shows(cls, at(x, y)); }
};

/// Edges of a label in pixels.
struct Box {
  double left, top, right, bottom;
  explicit Box(const Label& l)
      : left((l.cx - l.w / 2) * kCanvas),
        top((l.cy - l.h / 2) * kCanvas),
        right((l.cx + l.w / 2) * kCanvas),
        bottom((l.cy + l.h / 2) * kCanvas) {}
  bool holds(double x, double y, double slack) const {
    return x > left - slack && x < right + slack && y > top - slack && y < bottom + slack;
  }
};

class Augmentation : public ::testing::Test {
 protected:
  Input augmented(int64_t id, const AugmentOptions& options, uint64_t seed = 0, int64_t epoch = 1) {
    Input input;
    input.labels = augment(id, kScenes, options, SampleRng(seed, epoch, id), pictures_, input.out());
    return input;
  }

  Input letterboxed(int64_t id) {
    Input input;
    input.info = letterbox(*pictures_(id), input.out(), input.labels);
    return input;
  }

  testing::TemporaryFolder folder_;
  PictureStore store_{testing::scenes_dataset(folder_.path(), kScenes), kCanvas, 1 << 30};
  std::vector<Corrupt> corrupt_;
  PictureSource pictures_ = [this](int64_t id) { return store_.get(id, corrupt_); };
};

/// Colours stay, so that objects can be found again in the picture.
AugmentOptions geometry_only() {
  AugmentOptions options;
  options.hsv_h = options.hsv_s = options.hsv_v = 0;
  return options;
}

/// The most pixels that `dropped` objects can show: one that shows more than a tenth of its area keeps its label. The
/// largest object has 0.5 x 0.6 of the picture and may be enlarged by half.
int most_unlabelled_pixels(size_t dropped) {
  constexpr double kLargestObject = 0.5 * kCanvas * 0.6 * kCanvas * 1.5 * 1.5;
  return static_cast<int>(0.1 * kLargestObject * static_cast<double>(dropped));
}

/// Object pixels that no box of their class encloses.
int pixels_outside_boxes(const Input& input) {
  int outside = 0;
  for (int cls = 0; cls < 6; ++cls)
    for (int y = 0; y < kCanvas; ++y)
      for (int x = 0; x < kCanvas; ++x)
        outside += input.shows(cls, x, y) && std::ranges::none_of(input.labels, [&](const Label& label) {
                     return label.cls == cls && Box(label).holds(x + 0.5, y + 0.5, 1.0);
                   });
  return outside;
}

/// Whether object pixels reach all four edges of the box, within `slack` pixels.
bool tight(const Input& input, const Label& label, double slack) {
  const Box box(label);
  double left = kCanvas, top = kCanvas, right = 0, bottom = 0;
  for (int y = 0; y < kCanvas; ++y)
    for (int x = 0; x < kCanvas; ++x)
      if (box.holds(x + 0.5, y + 0.5, 1.0) && input.shows(label.cls, x, y)) {
        left = std::min(left, double(x)), right = std::max(right, x + 1.0);
        top = std::min(top, double(y)), bottom = std::max(bottom, y + 1.0);
      }
  return std::abs(left - box.left) <= slack && std::abs(right - box.right) <= slack &&
         std::abs(top - box.top) <= slack && std::abs(bottom - box.bottom) <= slack;
}

TEST_F(Augmentation, LetterboxKeepsProportionsAndCentresOnGrey) {
  for (int64_t id = 0; id < 4; ++id) {
    const Input input = letterboxed(id);
    ASSERT_EQ(input.labels.size(), 1U);
    EXPECT_EQ(pixels_outside_boxes(input), 0) << id;
    EXPECT_TRUE(tight(input, input.labels[0], 1.6)) << id;
  }
  const Input wide = letterboxed(3);  // 150 x 60 -> 128 x 51
  EXPECT_EQ(wide.info.original_width, 150);
  EXPECT_EQ(wide.info.original_height, 60);
  EXPECT_FLOAT_EQ(wide.info.scale, 128.0f / 150);
  EXPECT_EQ(wide.info.pad_x, 0);
  EXPECT_EQ(wide.info.pad_y, 38);
  EXPECT_EQ(wide.at(64, 37).r, 114);
  EXPECT_EQ(wide.at(3, 38).r, 50);  // the scene's background
  EXPECT_EQ(wide.at(3, 38 + 50).r, 50);
  EXPECT_EQ(wide.at(64, 38 + 51).r, 114);
}

TEST_F(Augmentation, LetterboxMapsOriginalPixelsByScaleAndPad) {
  const Input input = letterboxed(1);  // 64 x 96
  const Label original = store_.dataset().labels(1)[0], placed = input.labels[0];
  EXPECT_NEAR(placed.cx * kCanvas, original.cx * 64 * input.info.scale + input.info.pad_x, 0.5);
  EXPECT_NEAR(placed.cy * kCanvas, original.cy * 96 * input.info.scale + input.info.pad_y, 0.5);
  EXPECT_NEAR(placed.w * kCanvas, original.w * 64 * input.info.scale, 0.5);
}

TEST_F(Augmentation, BoxesStayOnTheirObjectsInMosaics) {
  int labels = 0;
  for (int64_t id = 0; id < kScenes; ++id)
    for (int64_t epoch = 1; epoch <= 10; ++epoch) {
      const Input input = augmented(id, geometry_only(), 0, epoch);
      labels += static_cast<int>(input.labels.size());
      for (const Label& label : input.labels) EXPECT_TRUE(tight(input, label, 1.6)) << id << " in epoch " << epoch;
      ASSERT_LE(input.labels.size(), 4U);
      EXPECT_LE(pixels_outside_boxes(input), most_unlabelled_pixels(4 - input.labels.size()))
          << id << " in epoch " << epoch;
    }
  EXPECT_GT(labels, 10 * kScenes);
}

TEST_F(Augmentation, BoxesStayOnTheirObjectsWithoutMosaicAndWithBothFlips) {
  AugmentOptions options = geometry_only();
  options.mosaic = 0;
  options.flipud = 0.5f;
  for (int64_t id = 0; id < kScenes; ++id)
    for (int64_t epoch = 1; epoch <= 10; ++epoch) {
      const Input input = augmented(id, options, 0, epoch);
      for (const Label& label : input.labels) EXPECT_TRUE(tight(input, label, 1.6)) << id << " in epoch " << epoch;
      ASSERT_EQ(input.labels.size(), 1U);
      EXPECT_EQ(pixels_outside_boxes(input), 0) << id << " in epoch " << epoch;
    }
}

TEST_F(Augmentation, BoxesEncloseTurnedShearedAndTiltedObjects) {
  AugmentOptions options = geometry_only();
  options.degrees = 30;
  options.shear = 8;
  for (const float perspective : {0.0f, 0.0005f}) {
    options.perspective = perspective;
    for (int64_t id = 0; id < kScenes; ++id)
      for (int64_t epoch = 1; epoch <= 4; ++epoch) {
        const Input input = augmented(id, options, 0, epoch);
        EXPECT_LE(pixels_outside_boxes(input), most_unlabelled_pixels(4 - input.labels.size()))
            << id << " in epoch " << epoch;
      }
  }
}

TEST_F(Augmentation, NothingIsChangedWhenEverythingIsOff) {
  AugmentOptions options = geometry_only();
  options.mosaic = options.translate = options.scale = options.fliplr = 0;
  for (int64_t id = 0; id < kScenes; ++id) {
    const Input input = augmented(id, options), plain = letterboxed(id);
    EXPECT_EQ(input.planes, plain.planes) << id;
    ASSERT_EQ(input.labels.size(), 1U);
    EXPECT_NEAR(input.labels[0].cx, plain.labels[0].cx, 1e-6);
    EXPECT_NEAR(input.labels[0].h, plain.labels[0].h, 1e-6);
  }
}

TEST_F(Augmentation, IsAFunctionOfSeedEpochAndSample) {
  const Input first = augmented(3, {}, 7, 2), again = augmented(3, {}, 7, 2);
  EXPECT_EQ(first.planes, again.planes);
  EXPECT_EQ(first.labels, again.labels);
  EXPECT_NE(first.planes, augmented(3, {}, 8, 2).planes);
  EXPECT_NE(first.planes, augmented(3, {}, 7, 3).planes);
  EXPECT_NE(first.planes, augmented(4, {}, 7, 2).planes);
}

TEST_F(Augmentation, MosaicDrawsFromTheWholeDataSet) {
  std::vector<int> seen(6);
  for (int64_t epoch = 1; epoch <= 30; ++epoch)
    for (const Label& label : augmented(0, geometry_only(), 0, epoch).labels) ++seen[static_cast<size_t>(label.cls)];
  for (size_t cls = 0; cls < seen.size(); ++cls) EXPECT_GT(seen[cls], 0) << cls;
}

TEST_F(Augmentation, MixupKeepsTheLabelsOfBoth) {
  AugmentOptions options = geometry_only();
  options.mosaic = options.translate = options.scale = options.fliplr = 0;
  options.mixup = 1;
  EXPECT_EQ(augmented(5, options).labels.size(), 2U);
}

TEST_F(Augmentation, EveryLabelLiesWithinThePicture) {
  AugmentOptions options;
  options.mixup = 0.5f;
  options.degrees = 45;
  for (int64_t id = 0; id < kScenes; ++id)
    for (int64_t epoch = 1; epoch <= 10; ++epoch)
      for (const Label& l : augmented(id, options, 1, epoch).labels) {
        EXPECT_GE(l.cx - l.w / 2, -1e-6);
        EXPECT_GE(l.cy - l.h / 2, -1e-6);
        EXPECT_LE(l.cx + l.w / 2, 1 + 1e-6);
        EXPECT_LE(l.cy + l.h / 2, 1 + 1e-6);
        EXPECT_GT(l.w * kCanvas, 2);
        EXPECT_GT(l.h * kCanvas, 2);
      }
}

// --- Which labels stay: more than two pixels each way, more than a tenth of the object, sides of less than 1 to 100

/// Labels of a grey square picture after augmentation.
std::vector<Label> kept_of(const std::vector<Label>& labels, int side, const AugmentOptions& options, int64_t epoch) {
  const Image image(side, side, kGrey);
  const auto picture = std::make_shared<const Picture>(Picture{image.view(), labels, side, side});
  std::vector<uint8_t> planes(3 * static_cast<size_t>(side) * static_cast<size_t>(side));
  return augment(0, 1, options, SampleRng(0, epoch, 0), [&](int64_t) { return picture; }, {planes.data(), side, side});
}

Label pixels(int cls, double x, double y, double w, double h, double side) {
  return {cls, float(x / side), float(y / side), float(w / side), float(h / side)};
}

TEST(LabelsKept, SpecksAndSliversAreLeftOut) {
  AugmentOptions still = geometry_only();
  still.mosaic = still.translate = still.scale = still.fliplr = 0;
  constexpr double kSide = 640;
  const std::vector<Label> labels{pixels(0, 100, 100, 1.9, 50, kSide), pixels(1, 100, 100, 2.1, 50, kSide),
                                  pixels(2, 100, 100, 50, 1.9, kSide), pixels(3, 320, 300, 290, 3, kSide),
                                  pixels(4, 320, 300, 310, 3, kSide),  pixels(5, 300, 320, 3, 310, kSide)};
  std::vector<int> classes;
  for (const Label& label : kept_of(labels, static_cast<int>(kSide), still, 1)) classes.push_back(label.cls);
  EXPECT_EQ(classes, (std::vector<int>{1, 3}));
}

TEST(LabelsKept, AnObjectOfWhichATenthOrLessIsSeenIsLeftOut) {
  AugmentOptions shifting = geometry_only();
  shifting.mosaic = shifting.scale = shifting.fliplr = 0;
  shifting.translate = 0.4f;
  constexpr double kSide = 200;
  const Label corner = pixels(0, 50, 50, 100, 100, kSide);
  int left_out = 0, barely_kept = 0;
  for (int64_t epoch = 1; epoch <= 400; ++epoch) {
    const auto kept = kept_of({corner}, static_cast<int>(kSide), shifting, epoch);
    if (kept.empty()) ++left_out;
    for (const Label& label : kept) {
      const double seen = double(label.w) * label.h / (double(corner.w) * corner.h);
      EXPECT_GT(seen, 0.1) << epoch;
      barely_kept += seen < 0.15;
    }
  }
  EXPECT_GT(left_out, 0);
  EXPECT_GT(barely_kept, 0);
}

// --- Colours
// -----------------------------------------------------------------------------------------------------------

Rgb changed(Rgb colour, HsvGains gains) {
  std::vector<uint8_t> planes{colour.r, colour.g, colour.b};
  change_colours({planes.data(), 1, 1}, gains);
  return {planes[0], planes[1], planes[2]};
}

void expect_colour(Rgb actual, Rgb expected) {
  EXPECT_NEAR(actual.r, expected.r, 1);
  EXPECT_NEAR(actual.g, expected.g, 1);
  EXPECT_NEAR(actual.b, expected.b, 1);
}

TEST(Hsv, GainsOfOneChangeNothing) {
  for (int r = 0; r < 256; r += 15)
    for (int g = 0; g < 256; g += 15)
      for (int b = 0; b < 256; b += 15) {
        const Rgb colour{uint8_t(r), uint8_t(g), uint8_t(b)};
        const Rgb same = changed(colour, {});
        ASSERT_NEAR(same.r, r, 1);
        ASSERT_NEAR(same.g, g, 1);
        ASSERT_NEAR(same.b, b, 1);
      }
}

TEST(Hsv, ValueSaturationAndHueDoWhatTheirNamesSay) {
  expect_colour(changed({100, 50, 20}, {1, 1, 1.5f}), {150, 75, 30});
  expect_colour(changed({200, 100, 40}, {1, 1, 2}), {255, 128, 51});  // white is the limit, the hue stays
  expect_colour(changed({100, 50, 50}, {1, 0, 1}), {100, 100, 100});
  expect_colour(changed({100, 50, 50}, {1, 1.5f, 1}), {100, 25, 25});
  expect_colour(changed({0, 255, 0}, {1.5f, 1, 1}), {0, 0 + 255, 255});   // 120 degrees -> 180
  expect_colour(changed({0, 0, 255}, {1.75f, 1, 1}), {255, 0 + 255, 0});  // 240 degrees -> 420, which is 60
  expect_colour(changed({77, 77, 77}, {1.5f, 1.5f, 1}), {77, 77, 77});
}

TEST(Hsv, EveryPixelOfALongRowIsTreatedAlike) {
  constexpr int kLong = 67;  // not a multiple of any vector's width
  std::vector<uint8_t> planes(3 * kLong * kLong);
  for (size_t i = 0; i < planes.size(); ++i) planes[i] = static_cast<uint8_t>(i * 2654435761U >> 24);
  const std::vector<uint8_t> before = planes;
  const HsvGains gains{1.01f, 1.4f, 0.8f};
  change_colours({planes.data(), kLong, kLong}, gains);
  constexpr size_t kPlane = kLong * kLong;
  for (size_t i = 0; i < kPlane; ++i) {
    const Rgb alone = changed({before[i], before[kPlane + i], before[2 * kPlane + i]}, gains);
    ASSERT_EQ(planes[i], alone.r) << i;
    ASSERT_EQ(planes[kPlane + i], alone.g) << i;
    ASSERT_EQ(planes[2 * kPlane + i], alone.b) << i;
  }
}

}  // namespace
}  // namespace tenfold
