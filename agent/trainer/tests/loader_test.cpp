#include "loader.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <system_error>

#include "batch_picture.h"
#include "data_fixtures.h"
#include "sample_order.h"
#include "validation_order.h"

namespace tenfold {
namespace {

constexpr int kSide = 64;
constexpr int kImages = 24;

using Batches = std::vector<std::vector<int64_t>>;

class LoaderTest : public ::testing::Test {
 protected:
  LoaderOptions options(int threads = 1) const {
    LoaderOptions options;
    options.imgsz = kSide;
    options.seed = 5;
    options.threads = threads;
    options.prefetch = 3;
    return options;
  }

  testing::TemporaryFolder folder_;
  Dataset dataset_ = testing::scenes_dataset(folder_.path(), kImages);
};

/// The ids of one rank's batches of an epoch.
Batches batches_of(int64_t epoch, int64_t batch, int world_size = 1, int rank = 0) {
  const auto order = permutation(5, epoch, kImages);
  Batches batches;
  for (int64_t offset = 0; offset < kImages; offset += batch) {
    batches.emplace_back();
    for (const int64_t position : rank_positions(kImages, batch, offset, world_size, rank))
      batches.back().push_back(order[static_cast<size_t>(position)]);
  }
  return batches;
}

std::vector<Batch> all(Loader& loader) {
  std::vector<Batch> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(*batch));
  return batches;
}

bool same(const Batch& a, const Batch& b) {
  return a.ids == b.ids && at::equal(a.images, b.images) && at::equal(a.targets, b.targets);
}

TEST_F(LoaderTest, HandsOutTheBatchesInOrderWithTheirShapes) {
  Loader loader(dataset_, options(2));
  const auto expected = batches_of(1, 7);
  loader.start(1, expected, AugmentOptions{});
  const auto batches = all(loader);
  ASSERT_EQ(batches.size(), expected.size());
  for (size_t i = 0; i < batches.size(); ++i) {
    const auto count = static_cast<int64_t>(expected[i].size());
    EXPECT_EQ(batches[i].ids, expected[i]);
    EXPECT_EQ(batches[i].images.sizes(), (at::IntArrayRef{count, 3, kSide, kSide}));
    EXPECT_EQ(batches[i].images.scalar_type(), at::kByte);
    EXPECT_EQ(batches[i].targets.size(1), 6);
    EXPECT_EQ(batches[i].targets.scalar_type(), at::kFloat);
  }
  EXPECT_FALSE(loader.next().has_value());
}

TEST_F(LoaderTest, OneThreadAndThreeGiveTheSameBits) {
  Loader one(dataset_, options(1)), three(dataset_, options(3));
  for (int64_t epoch = 1; epoch <= 2; ++epoch) {
    one.start(epoch, batches_of(epoch, 8), AugmentOptions{});
    three.start(epoch, batches_of(epoch, 8), AugmentOptions{});
    const auto a = all(one), b = all(three);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same(a[i], b[i])) << "epoch " << epoch << " batch " << i;
  }
}

TEST_F(LoaderTest, TheCacheChangesNothing) {
  LoaderOptions uncached = options(2), scarce = options(2);
  uncached.cache_bytes = 0;
  scarce.cache_bytes = 5 * kSide * kSide * 3;  // a few of the pictures
  Loader with(dataset_, options(2)), without(dataset_, uncached), with_some(dataset_, scarce);
  for (Loader* loader : {&with, &without, &with_some}) loader->start(1, batches_of(1, 8), AugmentOptions{});
  const auto a = all(with), b = all(without), c = all(with_some);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(same(a[i], b[i])) << i;
    EXPECT_TRUE(same(a[i], c[i])) << i;
  }
}

TEST_F(LoaderTest, PicturesFromFilesChangeNothing) {
  const testing::TemporaryFolder cache;
  LoaderOptions from_files = options(2);
  from_files.cache_bytes = 0;
  from_files.folder = std::make_shared<PictureFolder>(cache.path(), int64_t{1} << 30);
  Loader plain(dataset_, options(2)), cold(dataset_, from_files), warm(dataset_, from_files);
  for (Loader* loader : {&plain, &cold}) loader->start(1, batches_of(1, 8), AugmentOptions{});
  const auto a = all(plain), b = all(cold);
  warm.start(1, batches_of(1, 8), AugmentOptions{});
  const auto c = all(warm);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(same(a[i], b[i])) << i;
    EXPECT_TRUE(same(a[i], c[i])) << i;
  }
}

TEST_F(LoaderTest, MixupAndEveryTurnLookTheSameWhateverTheThreads) {
  AugmentOptions wild;
  wild.mixup = 0.5f, wild.degrees = 20, wild.shear = 5, wild.flipud = 0.5f, wild.perspective = 0.0005f;
  Loader one(dataset_, options(1)), three(dataset_, options(3));
  for (Loader* loader : {&one, &three}) loader->start(1, batches_of(1, 5), wild);
  const auto a = all(one), b = all(three);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same(a[i], b[i])) << i;
}

TEST_F(LoaderTest, ASampleLooksTheSameOnEveryRank) {
  Loader whole(dataset_, options());
  whole.start(1, batches_of(1, 8), AugmentOptions{});
  std::map<int64_t, at::Tensor> by_id;
  for (const Batch& batch : all(whole))
    for (size_t i = 0; i < batch.ids.size(); ++i) by_id[batch.ids[i]] = batch.images[static_cast<int64_t>(i)];

  size_t seen = 0;
  for (int rank = 0; rank < 3; ++rank) {
    Loader loader(dataset_, options());
    loader.start(1, batches_of(1, 8, 3, rank), AugmentOptions{});
    for (const Batch& batch : all(loader))
      for (size_t i = 0; i < batch.ids.size(); ++i, ++seen)
        EXPECT_TRUE(at::equal(by_id.at(batch.ids[i]), batch.images[static_cast<int64_t>(i)])) << batch.ids[i];
  }
  EXPECT_EQ(seen, static_cast<size_t>(kImages));
}

TEST_F(LoaderTest, AnEmptyBatchKeepsItsPlace) {
  Loader loader(dataset_, options(2));
  loader.start(1, {{3}, {}, {}, {}, {}, {4, 5}}, std::nullopt);
  const auto batches = all(loader);
  ASSERT_EQ(batches.size(), 6U);
  EXPECT_EQ(batches[1].images.size(0), 0);
  EXPECT_EQ(batches[1].targets.sizes(), (at::IntArrayRef{0, 6}));
  EXPECT_EQ(batches[5].ids, (std::vector<int64_t>{4, 5}));
}

TEST_F(LoaderTest, WithoutAugmentationPicturesAreLetterboxed) {
  Loader loader(dataset_, options());
  loader.start(1, {{3, 1}}, std::nullopt);
  const auto batch = loader.next();
  ASSERT_TRUE(batch);
  ASSERT_EQ(batch->letterbox.size(), 2U);
  EXPECT_EQ(batch->letterbox[0].original_width, 150);
  EXPECT_EQ(batch->letterbox[1].original_height, 96);
  EXPECT_EQ(batch->images[0][0][0][0].item<int>(), 114);
  ASSERT_EQ(batch->targets.size(0), 2);
  EXPECT_EQ(batch->targets[1][0].item<float>(), 1);  // index in the batch
  EXPECT_EQ(batch->targets[1][1].item<float>(), 1);  // class
}

// --- Rectangles. Scenes 0..3 of four are 96x72, 64x96, 80x80 and 150x60: 64x48, 43x64, 64x64 and 64x26 here.

/// Batches of the scenes 3 and 3, 0 and 3, 1 alone, 2 and 3, each as its rectangle.
std::vector<Batch> rectangles(Loader& loader, std::optional<AugmentOptions> augment) {
  const Batches batches{{3, 7}, {0, 3}, {1}, {2, 3}};
  loader.start(1, batches, augment, {batches});
  return all(loader);
}

TEST_F(LoaderTest, ARectangleIsTheLeastThatHoldsItsPictures) {
  AugmentOptions still;
  still.mosaic = still.hsv_h = still.hsv_s = still.hsv_v = still.translate = still.scale = still.fliplr = 0;
  Loader loader(dataset_, options(2));
  const auto made = rectangles(loader, still);
  ASSERT_EQ(made.size(), 4U);
  EXPECT_EQ(made[0].images.sizes(), (at::IntArrayRef{2, 3, 32, 64}));
  EXPECT_EQ(made[1].images.sizes(), (at::IntArrayRef{2, 3, 64, 64}));
  EXPECT_EQ(made[2].images.sizes(), (at::IntArrayRef{1, 3, 64, 64}));
  EXPECT_EQ(made[3].images.sizes(), (at::IntArrayRef{2, 3, 64, 64}));
  // The object of scene 3, half of the picture wide and 0.6 of its 26 rows high, in the middle of 64 x 32.
  EXPECT_NEAR(made[0].targets[0][4].item<float>(), 0.5, 0.01);
  EXPECT_NEAR(made[0].targets[0][5].item<float>(), 0.6 * 26 / 32, 0.01);
  EXPECT_EQ(made[0].images[0][0][2][32].item<int>(), 114);
}

TEST_F(LoaderTest, RectanglesOfAValidationHaveAMargin) {
  Loader loader(dataset_, options(2));
  const auto made = rectangles(loader, std::nullopt);
  ASSERT_EQ(made.size(), 4U);
  EXPECT_EQ(made[0].images.sizes(), (at::IntArrayRef{2, 3, 64, 96}));
  EXPECT_EQ(made[1].images.sizes(), (at::IntArrayRef{2, 3, 64, 96}));
  EXPECT_EQ(made[2].images.sizes(), (at::IntArrayRef{1, 3, 96, 64}));
  EXPECT_EQ(made[3].images.sizes(), (at::IntArrayRef{2, 3, 96, 96}));
  // The object of scene 3, half of the picture's 64 columns wide and 0.6 of its 26 rows high, in the middle of 96 x 64.
  EXPECT_NEAR(made[0].targets[0][4].item<float>(), 0.5 * 64 / 96, 0.01);
  EXPECT_NEAR(made[0].targets[0][5].item<float>(), 0.6 * 26 / 64, 0.01);
  EXPECT_EQ(made[0].letterbox[0].pad_x, 16);
  EXPECT_EQ(made[0].letterbox[0].pad_y, 19);
}

TEST_F(LoaderTest, RectanglesAreWholeStridesOfTheNetwork) {
  Loader loader(dataset_, options());
  const Batches batches{{3}};  // 64 x 26
  loader.start(1, batches, std::nullopt, {.shaped_by = batches, .stride = 64});
  const auto batch = loader.next();
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->images.sizes(), (at::IntArrayRef{1, 3, 64, 128})) << "with half a stride of margin";
}

TEST_F(LoaderTest, AValidationGoesFromWidePicturesToTallOnesInBatches) {
  const std::vector<int64_t> order = by_shape(dataset_);
  ASSERT_EQ(order.size(), static_cast<size_t>(dataset_.size()));
  std::vector<int64_t> ids = order;
  std::ranges::sort(ids);
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(ids[i], static_cast<int64_t>(i));
  const auto shape = [&](int64_t id) { return static_cast<double>(dataset_.sample(id).height) / dataset_.sample(id).width; };
  for (size_t i = 1; i < order.size(); ++i) {
    EXPECT_TRUE(shape(order[i - 1]) < shape(order[i]) || (shape(order[i - 1]) == shape(order[i]) && order[i - 1] < order[i]));
  }
  const Batches batches = ::tenfold::batches_of(order, 4);
  EXPECT_EQ(batches.front(), (std::vector<int64_t>(order.begin(), order.begin() + 4)));
  EXPECT_EQ(batches.size(), (order.size() + 3) / 4);
}

TEST_F(LoaderTest, EveryRankGivesAGlobalBatchTheSameRectangle) {
  AugmentOptions augment;
  augment.mosaic = 0;
  for (const int world : {1, 2, 3})
    for (int rank = 0; rank < world; ++rank) {
      Loader loader(dataset_, options());
      loader.start(1, batches_of(1, 4, world, rank), augment, {batches_of(1, 4)});
      Loader whole(dataset_, options());
      whole.start(1, batches_of(1, 4), augment, {batches_of(1, 4)});
      for (const Batch& expected : all(whole)) {
        const auto own = loader.next();
        ASSERT_TRUE(own);
        for (size_t i = 0; i < own->ids.size(); ++i) {
          const auto same_sample = std::ranges::find(expected.ids, own->ids[i]) - expected.ids.begin();
          EXPECT_TRUE(at::equal(own->images[static_cast<int64_t>(i)], expected.images[same_sample]));
        }
      }
    }
}

TEST_F(LoaderTest, ObjectsStayInTheirBoxesInRectangles) {
  AugmentOptions augment;
  augment.mosaic = augment.hsv_h = augment.hsv_s = augment.hsv_v = 0;
  augment.translate = 0, augment.scale = 0.3f;
  Loader loader(dataset_, options());
  const Batches batches{{3, 7, 11}, {15, 19, 23}};
  loader.start(1, batches, augment, {batches});
  for (const Batch& batch : all(loader)) {
    ASSERT_EQ(batch.images.size(2), 32);
    ASSERT_EQ(batch.targets.size(0), 3);
    for (int64_t i = 0; i < 3; ++i) {
      const Image image = image_from_tensor(batch.images[i]);
      const auto x = static_cast<int>(batch.targets[i][2].item<float>() * 64);
      const auto y = static_cast<int>(batch.targets[i][3].item<float>() * 32);
      const uint8_t* pixel = image.row(y) + 3 * x;
      EXPECT_TRUE(testing::shows(batch.targets[i][1].item<int>(), {pixel[0], pixel[1], pixel[2]})) << batch.ids[0];
    }
  }
}

TEST_F(LoaderTest, RectanglesAndMosaicsExcludeEachOther) {
  Loader loader(dataset_, options());
  EXPECT_THROW(loader.start(1, {{0}}, AugmentOptions{}, {.shaped_by = {{0}}}), std::invalid_argument);
  EXPECT_THROW(loader.start(1, {{0}, {1}}, std::nullopt, {.shaped_by = {{0}}}), std::invalid_argument);
}

TEST_F(LoaderTest, ACorruptImageIsReportedOnceAndReplacedInPlace) {
  std::vector<testing::ShardSample> samples;
  for (int i = 0; i < 4; ++i)
    samples.push_back(
        testing::scene_sample("images/" + std::to_string(i) + ".jpg", 64, 64, {{0, 0.5f, 0.5f, 0.5f, 0.5f}}));
  samples[2].file.resize(samples[2].file.size() / 2);
  const testing::TemporaryFolder folder;
  testing::write_shards(folder.path(), {"red"}, {{"train", {samples}}});

  Loader loader(Dataset::open_shards(folder / "index.json", folder.path(), "train"), options(2));
  loader.start(1, {{0, 2, 1}, {2, 3}}, std::nullopt);
  const auto batches = all(loader);
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_EQ(batches[0].ids, (std::vector<int64_t>{0, 2, 1}));
  ASSERT_EQ(batches[0].corrupt.size(), 1U)
      << batches[0].corrupt.back().name << ": " << batches[0].corrupt.back().reason;
  EXPECT_EQ(batches[0].corrupt[0].id, 2);
  EXPECT_EQ(batches[0].corrupt[0].name, "images/2.jpg");
  EXPECT_NE(batches[0].corrupt[0].reason.find("JPEG"), std::string::npos);
  EXPECT_TRUE(batches[1].corrupt.empty());
  EXPECT_TRUE(batches[0].images[1].eq(114).all().item<bool>());
  ASSERT_EQ(batches[0].targets.size(0), 2);
  EXPECT_EQ(batches[0].targets[1][0].item<float>(), 2);
}

/// A YOLO folder with the pictures 0.png and 1.png, each with an object.
class FilesTest : public LoaderTest {
 protected:
  FilesTest() {
    for (const std::string stem : {"0", "1"}) {
      write_picture(stem);
      testing::write_file(yolo_ / ("labels/" + stem + ".txt"), std::string("0 0.5 0.5 0.5 0.5\n"));
    }
    testing::write_file(yolo_ / "data.yaml", std::string("train: images\nnames: [red]\n"));
  }

  std::filesystem::path picture(const std::string& stem) const { return yolo_ / ("images/" + stem + ".png"); }

  void write_picture(const std::string& stem) const {
    testing::write_file(picture(stem), testing::scene_sample("a.png", 64, 64, {{0, 0.5f, 0.5f, 0.5f, 0.5f}}).file);
  }

  Dataset open() const { return Dataset::open_yaml(yolo_ / "data.yaml", "train"); }

  /// Both pictures in one batch.
  static Batch next_epoch(Loader& loader) {
    loader.start(1, {{0, 1}}, std::nullopt);
    return std::move(all(loader).at(0));
  }

  testing::TemporaryFolder yolo_;
};

TEST_F(FilesTest, APictureThatIsThereAgainIsSeenAgain) {
  Loader loader(open(), options(2));
  std::filesystem::remove(picture("0"));
  testing::write_file(picture("1"), std::string());
  const Batch without = next_epoch(loader);
  ASSERT_EQ(without.corrupt.size(), 2U);
  EXPECT_EQ(without.corrupt[0].reason, "the file does not exist");
  EXPECT_EQ(without.corrupt[1].reason, "the file is empty");
  EXPECT_EQ(without.targets.size(0), 0);

  write_picture("0");
  const Batch with = next_epoch(loader);
  EXPECT_EQ(with.targets.size(0), 1);
  EXPECT_FALSE(with.images[0].eq(114).all().item<bool>()) << "the grey is not what is kept";
  EXPECT_EQ(with.unreadable, (std::set<int64_t>{1}));
  EXPECT_TRUE(with.corrupt.empty()) << "it was told before";
}

TEST_F(FilesTest, APictureThatExistsAndCannotBeReadEndsTheEpoch) {
  const Dataset dataset = open();
  std::filesystem::remove(picture("1"));
  std::filesystem::create_directory(picture("1"));  // can be opened, but not read
  Loader loader(dataset, options(2));
  loader.start(1, {{0, 1}}, std::nullopt);
  try {
    all(loader);
    FAIL() << "no error";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::is_a_directory);
    EXPECT_NE(std::string(error.what()).find(picture("1").string()), std::string::npos) << error.what();
  }
}

TEST_F(LoaderTest, StoppingInTheMiddleLeavesNothingBehind) {
  for (int taken = 0; taken < 3; ++taken) {
    Loader loader(dataset_, options(3));
    loader.start(1, batches_of(1, 2), AugmentOptions{});
    for (int i = 0; i < taken; ++i) EXPECT_TRUE(loader.next());
  }  // joins here
}

TEST_F(LoaderTest, StartingAnewDropsWhatWasLeft) {
  Loader loader(dataset_, options(2));
  loader.start(1, batches_of(1, 4), AugmentOptions{});
  EXPECT_TRUE(loader.next());
  loader.start(2, {{7}}, AugmentOptions{});
  const auto batches = all(loader);
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_EQ(batches[0].ids, (std::vector<int64_t>{7}));
}

TEST_F(LoaderTest, ABatchOutlivesItsLoader) {
  std::optional<Batch> batch;
  at::Tensor copy;
  {
    Loader loader(dataset_, options());
    loader.start(1, {{0, 1}, {2, 3}}, AugmentOptions{});
    batch = loader.next();
    copy = batch->images.clone();
    EXPECT_TRUE(loader.next());
  }
  EXPECT_TRUE(at::equal(batch->images, copy));
}

TEST_F(LoaderTest, AnIdThatIsNotThereFailsInTheCaller) {
  Loader loader(dataset_, options(2));
  loader.start(1, {{0}, {kImages}}, std::nullopt);
  EXPECT_THROW(all(loader), std::out_of_range);
}

TEST_F(LoaderTest, WaitingIsMeasured) {
  Loader loader(dataset_, options());
  EXPECT_EQ(loader.wait_seconds(), 0);
  loader.start(1, batches_of(1, 8), AugmentOptions{});
  all(loader);
  EXPECT_GT(loader.wait_seconds(), 0);
}

TEST_F(LoaderTest, ABatchCanBeLookedAt) {
  Loader loader(dataset_, options());
  loader.start(1, {{0, 1, 2, 3, 4}}, std::nullopt);
  const auto batch = loader.next();
  const Image one = image_from_tensor(batch->images[2]);  // 80 x 80, a blue object in its middle
  EXPECT_EQ(one.width, kSide);
  const uint8_t* centre = one.row(kSide / 2) + 3 * (kSide / 2);
  EXPECT_TRUE(testing::shows(2, {centre[0], centre[1], centre[2]}));
  const Image grid = batch_picture(*batch, dataset_.names(), 4);
  EXPECT_EQ(grid.width, 2 * 480 + 4);
  EXPECT_EQ(grid.height, 2 * 480 + 4);
}

}  // namespace
}  // namespace tenfold
