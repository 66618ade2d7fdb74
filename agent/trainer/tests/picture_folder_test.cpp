#include "picture_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "data_fixtures.h"
#include "picture_store.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

constexpr int kPictureSide = 32;
constexpr int64_t kFileBytes = 64 + 3 * kPictureSide * kPictureSide + 64;
constexpr int64_t kPlenty = int64_t{1} << 30;

Image flat(uint8_t level) {
  return Image(kPictureSide, kPictureSide, {level, level, level});
}

bool keep(PictureFolder& folder, const std::string& key, uint8_t level) {
  return folder.keep(key, flat(level).view(), 640, 480);
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path());
  return files;
}

/// As if the files had last been used by a run of yesterday.
void age(const fs::path& folder) {
  for (const fs::path& file : files_in(folder))
    fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(24));
}

TEST(PictureFolder, APictureIsFoundAgainByALaterRun) {
  const TemporaryFolder folder;
  {
    PictureFolder first(folder.path(), kPlenty);
    EXPECT_FALSE(first.find("ab-cd"));
    keep(first, "ab-cd", 77);
  }
  PictureFolder second(folder.path(), kPlenty);
  const auto found = second.find("ab-cd");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->image.width, kPictureSide);
  EXPECT_EQ(found->original_width, 640);
  EXPECT_EQ(found->original_height, 480);
  EXPECT_EQ(found->image.row(kPictureSide - 1)[3 * kPictureSide - 1], 77);
  EXPECT_FALSE(second.find("ab-ce"));
}

TEST(PictureFolder, AMappedPictureOutlivesItsFile) {
  const TemporaryFolder folder;
  PictureFolder pictures(folder.path(), kPlenty);
  keep(pictures, "ab-cd", 77);
  const auto found = pictures.find("ab-cd");
  for (const fs::path& file : files_in(folder.path())) fs::remove(file);
  EXPECT_FALSE(pictures.find("ab-cd"));
  EXPECT_EQ(found->image.row(0)[0], 77);
}

TEST(PictureFolder, AFileThatIsNotWholeCountsAsNone) {
  const TemporaryFolder folder;
  PictureFolder pictures(folder.path(), kPlenty);
  for (const uintmax_t left : {uintmax_t{0}, uintmax_t{30}, uintmax_t{64}, uintmax_t{1000}, uintmax_t(kFileBytes - 1)}) {
    keep(pictures, "ab-cd", 77);
    ASSERT_TRUE(pictures.find("ab-cd"));
    fs::resize_file(files_in(folder.path()).at(0), left);
    EXPECT_FALSE(pictures.find("ab-cd")) << left;
  }
  testing::write_file(folder / "ab/-cd", std::string(static_cast<size_t>(kFileBytes), 'x'));
  EXPECT_FALSE(pictures.find("ab-cd"));
}

TEST(PictureFolder, ItDoesNotOutgrowItsLimit) {
  const TemporaryFolder folder;
  PictureFolder pictures(folder.path(), 3 * kFileBytes);
  for (const char* key : {"aa-1", "bb-2", "cc-3", "dd-4"}) keep(pictures, key, 1);
  EXPECT_EQ(files_in(folder.path()).size(), 3U);
  EXPECT_TRUE(pictures.find("aa-1"));  // what is in use is not driven out
  EXPECT_FALSE(pictures.find("dd-4"));
}

TEST(PictureFolder, TellsOnceThatItIsFull) {
  const TemporaryFolder folder;
  std::vector<std::string> told;
  PictureFolder pictures(folder.path(), kFileBytes, [&](const std::string& message) { told.push_back(message); });
  EXPECT_TRUE(keep(pictures, "aa-1", 1));
  EXPECT_TRUE(told.empty());
  EXPECT_FALSE(keep(pictures, "bb-2", 1));
  EXPECT_FALSE(keep(pictures, "cc-3", 1));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(testing::mentions(told[0], folder.path().string() + ": it holds the 0.0 GiB that it may")) << told[0];
}

TEST(PictureFolder, TellsOnceThatItCannotBeWrittenTo) {
  const TemporaryFolder folder;
  testing::write_file(folder / "aa", std::string("where a folder should be"));
  std::vector<std::string> told;
  PictureFolder pictures(folder.path(), kPlenty, [&](const std::string& message) { told.push_back(message); });
  EXPECT_FALSE(keep(pictures, "aa-1", 1));
  EXPECT_FALSE(keep(pictures, "aa-2", 1));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(testing::mentions(told[0], folder.path().string() + ": cannot be written to: ")) << told[0];
  EXPECT_TRUE(keep(pictures, "bb-3", 1)) << "the others are kept";
  EXPECT_EQ(files_in(folder.path()).size(), 2U) << "and nothing unfinished";
}

TEST(PictureFolder, WhatNoRunHasUsedSinceMakesRoom) {
  const TemporaryFolder folder;
  {
    PictureFolder yesterday(folder.path(), kPlenty);
    for (const char* key : {"aa-1", "bb-2", "cc-3"}) keep(yesterday, key, 1);
  }
  age(folder.path());
  PictureFolder today(folder.path(), 3 * kFileBytes);
  EXPECT_TRUE(today.find("bb-2"));
  keep(today, "dd-4", 1);
  keep(today, "ee-5", 1);
  keep(today, "ff-6", 1);  // all three are in use now
  EXPECT_EQ(files_in(folder.path()).size(), 3U);
  for (const char* key : {"bb-2", "dd-4", "ee-5"}) EXPECT_TRUE(today.find(key)) << key;
}

TEST(PictureFolder, WhatADeadProcessLeftBehindIsClearedAway) {
  const TemporaryFolder folder;
  testing::write_file(folder / ".123-0.tmp", std::string("half a picture"));
  { PictureFolder too_early(folder.path(), kPlenty); }
  EXPECT_TRUE(fs::exists(folder / ".123-0.tmp"));  // it may be at work still
  age(folder.path());
  { PictureFolder later(folder.path(), kPlenty); }
  EXPECT_FALSE(fs::exists(folder / ".123-0.tmp"));
}

TEST(PictureFolder, ThreadsMayKeepTheSamePicturesAtOnce) {
  const TemporaryFolder folder;
  PictureFolder one(folder.path(), kPlenty), other(folder.path(), kPlenty);
  std::vector<std::thread> threads;
  for (PictureFolder* pictures : {&one, &other, &one})
    threads.emplace_back([pictures] {
      for (int i = 0; i < 40; ++i) {
        const std::string key = "ab-" + std::to_string(i);
        if (!pictures->find(key)) keep(*pictures, key, static_cast<uint8_t>(i));
        const auto found = pictures->find(key);
        ASSERT_TRUE(found);
        ASSERT_EQ(found->image.row(9)[9], i);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(files_in(folder.path()).size(), 40U);
}

// --- With a data set ----------------------------------------------------------------------------------------------------

class StoreWithFolder : public ::testing::Test {
 protected:
  std::shared_ptr<const Picture> picture(PictureStore& store, int64_t id) { return store.get(id, corrupt_); }

  bool same(const Picture& a, const Picture& b) const {
    return a.image.width == b.image.width && a.image.height == b.image.height && a.labels.size() == b.labels.size() &&
           a.original_width == b.original_width &&
           std::equal(a.image.pixels, a.image.row(a.image.height), b.image.pixels);
  }

  TemporaryFolder data_, cache_;
  Dataset dataset_ = testing::scenes_dataset(data_.path(), 8);
  std::vector<Corrupt> corrupt_;
};

TEST_F(StoreWithFolder, AWarmFolderGivesTheSamePictures) {
  const auto folder = std::make_shared<PictureFolder>(cache_.path(), kPlenty);
  PictureStore plain(dataset_, 48, 0), cold(dataset_, 48, 0, folder), warm(dataset_, 48, 0, folder);
  for (int64_t id = 0; id < 8; ++id) {
    const auto expected = picture(plain, id);
    EXPECT_TRUE(same(*picture(cold, id), *expected)) << id;
    EXPECT_TRUE(same(*picture(warm, id), *expected)) << id;
    EXPECT_TRUE(same(*picture(warm, id), *expected)) << id;  // by its known key
  }
  EXPECT_EQ(files_in(cache_.path()).size(), 8U);
}

TEST_F(StoreWithFolder, WhatTheFolderDoesNotTakeIsKeptInMemory) {
  PictureStore full(dataset_, 48, kPlenty, std::make_shared<PictureFolder>(cache_ / "full", 0));
  const auto first = picture(full, 0);
  EXPECT_EQ(picture(full, 0), first) << "the same, not decoded anew";

  PictureStore roomy(dataset_, 48, kPlenty, std::make_shared<PictureFolder>(cache_ / "roomy", kPlenty));
  const auto mapped = picture(roomy, 0);
  EXPECT_NE(picture(roomy, 0), mapped) << "memory is for what the folder does not take";
}

TEST_F(StoreWithFolder, AnotherSizeIsAnotherPicture) {
  const auto folder = std::make_shared<PictureFolder>(cache_.path(), kPlenty);
  PictureStore small(dataset_, 32, 0, folder), large(dataset_, 64, 0, folder);
  EXPECT_EQ(picture(small, 2)->image.width, 32);
  EXPECT_EQ(picture(large, 2)->image.width, 64);
}

TEST_F(StoreWithFolder, AFileThatChangedIsDecodedAnew) {
  const auto write = [&](int cls) {
    testing::write_file(data_ / "yolo/images/a.png",
                        testing::scene_sample("a.png", 40, 40, {{cls, 0.5f, 0.5f, 0.9f, 0.9f}}).file);
    testing::write_file(data_ / "yolo/data.yaml", std::string("train: images\nnames: [a]\n"));
  };
  const auto folder = std::make_shared<PictureFolder>(cache_.path(), kPlenty);
  for (const int cls : {0, 2}) {
    write(cls);
    PictureStore store(Dataset::open_yaml(data_ / "yolo/data.yaml", "train"), 40, 0, folder);
    const auto shown = picture(store, 0);
    const uint8_t* middle = shown->image.row(20) + 3 * 20;
    EXPECT_TRUE(testing::shows(cls, {middle[0], middle[1], middle[2]})) << cls;
  }
}

TEST_F(StoreWithFolder, ACorruptImageIsNotKept) {
  testing::write_file(data_ / "yolo/images/a.jpg", std::string("\xFF\xD8\xFF nothing"));
  testing::write_file(data_ / "yolo/data.yaml", std::string("train: images\nnames: [a]\n"));
  PictureStore store(Dataset::open_yaml(data_ / "yolo/data.yaml", "train"), 40, 0,
                     std::make_shared<PictureFolder>(cache_.path(), kPlenty));
  for (size_t times = 1; times <= 2; ++times) {
    EXPECT_TRUE(picture(store, 0)->labels.empty());
    EXPECT_EQ(corrupt_.size(), times);
  }
  EXPECT_TRUE(files_in(cache_.path()).empty());
}

}  // namespace
}  // namespace tenfold
