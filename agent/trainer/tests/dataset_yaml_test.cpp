#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <system_error>

#include "data_fixtures.h"
#include "label_file.h"
#include "persistent_read.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using testing::mentions;
using testing::TemporaryFolder;
using testing::write_file;

/// A YOLO folder: three train images (one in a subfolder, one background without a label file) and one val image.
class YoloFolder : public ::testing::Test {
 protected:
  YoloFolder() {
    add_image("images/train/a.jpg");
    add_image("images/train/deeper/b.png");
    add_image("images/train/background.jpg");
    add_image("images/val/c.jpg");
    write_file(folder_ / "labels/train/a.txt", std::string("0 0.5 0.5 0.2 0.4\n1 0.25 0.25 0.1 0.1\n"));
    write_file(folder_ / "labels/train/deeper/b.txt", std::string("1 0.5 0.5 1 1\r\n\r\n"));
    write_file(folder_ / "labels/val/c.txt", std::string());
  }

  void add_image(const std::string& name) const {
    write_file(folder_ / name, testing::scene_sample(name, 40, 30, {}).file);
  }

  Dataset open(const std::string& yaml, const std::string& split = "train") const {
    write_file(folder_ / "data.yaml", yaml);
    return Dataset::open_yaml(folder_ / "data.yaml", split);
  }

  std::vector<std::string> names_of(const Dataset& dataset) const {
    std::vector<std::string> names;
    for (int64_t id = 0; id < dataset.size(); ++id) names.push_back(dataset.sample(id).name);
    return names;
  }

  std::string refusal(const std::string& yaml, const std::string& split = "train") const {
    try {
      open(yaml, split);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }

  TemporaryFolder folder_;
};

const std::vector<std::string> kTrainImages{"images/train/a.jpg", "images/train/background.jpg",
                                            "images/train/deeper/b.png"};

TEST_F(YoloFolder, IsReadFromAFolderWithItsLabels) {
  const Dataset dataset = open("path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n");
  EXPECT_EQ(names_of(dataset), kTrainImages);
  EXPECT_EQ(dataset.names(), (std::vector<std::string>{"cat", "dog"}));
  const Sample sample = dataset.sample(0);
  EXPECT_EQ(sample.width, 40);
  EXPECT_EQ(sample.height, 30);
  ASSERT_EQ(sample.labels.size(), 2U);
  EXPECT_EQ(sample.labels[1], (Label{1, 0.25f, 0.25f, 0.1f, 0.1f}));
  EXPECT_EQ(decode_image(sample.bytes).width, 40);
  EXPECT_TRUE(dataset.labels(1).empty());
  EXPECT_EQ(dataset.labels(2).size(), 1U);
}

TEST_F(YoloFolder, AnEmptyLabelFileIsBackground) {
  const Dataset dataset = open("val: images/val\nnames: [cat, dog]\n", "val");
  EXPECT_EQ(dataset.size(), 1);
  EXPECT_TRUE(dataset.labels(0).empty());
}

TEST_F(YoloFolder, EntriesMayBeListsGlobsAndTextFiles) {
  EXPECT_EQ(names_of(open("train: [images/train/deeper, images/train/a.jpg]\nnames: [cat, dog]\n")),
            (std::vector<std::string>{"images/train/a.jpg", "images/train/deeper/b.png"}));
  EXPECT_EQ(names_of(open("train: images/train/*.jpg\nnames: [cat, dog]\n")),
            (std::vector<std::string>{"images/train/a.jpg", "images/train/background.jpg"}));
  write_file(folder_ / "lists/train.txt",
             "../images/train/a.jpg\n\nimages/val/c.jpg\r\n" + (folder_ / "images/train/deeper/b.png").string());
  EXPECT_EQ(names_of(open("train: lists/train.txt\nnames: [cat, dog]\n")),
            (std::vector<std::string>{"images/train/a.jpg", "images/train/deeper/b.png", "images/val/c.jpg"}));
}

TEST_F(YoloFolder, ATextFileMayBeOfAnEditorOnWindowsAndWhatItNamesIsNeverLeftOutSilently) {
  write_file(folder_ / "train.txt", std::string("\xEF\xBB\xBF") + "images/train/a.jpg\r\n  images/val/c.jpg\r\n");
  EXPECT_EQ(names_of(open("train: train.txt\nnames: [cat, dog]\n")),
            (std::vector<std::string>{"images/train/a.jpg", "images/val/c.jpg"}));
  write_file(folder_ / "images/train/a.jpe", std::string("x"));
  write_file(folder_ / "train.txt", std::string("images/train/a.jpe\n"));
  EXPECT_TRUE(mentions(refusal("train: train.txt\nnames: [cat, dog]\n"),
                       "names images/train/a.jpe, which is no JPEG, PNG or WebP file"));
}

TEST_F(YoloFolder, HiddenFilesAreNoneOfItsPictures) {
  add_image("images/train/.ipynb_checkpoints/a-checkpoint.jpg");
  write_file(folder_ / "images/train/._a.jpg", std::string("of the file system"));
  write_file(folder_ / "labels/train/._a.txt", std::string("of the file system"));
  EXPECT_EQ(names_of(open("train: images/train\nnames: [cat, dog]\n")), kTrainImages);
}

TEST_F(YoloFolder, AnEntryThatLeadsAboveItIsLookedForInItAsSomeExportsMeanIt) {
  EXPECT_EQ(names_of(open("train: ../images/train\nnames: [cat, dog]\n")), kTrainImages);
  EXPECT_TRUE(mentions(refusal("train: ../images/tain\nnames: [cat, dog]\n"), "../images/tain: not found"));
  write_file(folder_ / "set/data.yaml", std::string("train: ../images/train\nnames: [cat, dog]\n"));
  add_image("set/images/train/other.jpg");
  EXPECT_EQ(Dataset::open_yaml(folder_ / "set/data.yaml", "train").size(), 3) << "what it says comes first";
}

TEST_F(YoloFolder, TheSameImageNamedTwiceCountsOnce) {
  EXPECT_EQ(open("train: [images/train, images/train/a.jpg]\nnames: [cat, dog]\n").size(), 3);
}

TEST_F(YoloFolder, PathsAreResolvedAgainstTheYamlFirst) {
  // From a folder that has another images/train: the one beside the yaml counts.
  const TemporaryFolder elsewhere;
  write_file(elsewhere / "images/train/wrong.jpg", std::string("x"));
  const testing::WorkingFolder here(elsewhere.path());
  EXPECT_EQ(names_of(open("train: images/train\nnames: [cat, dog]\n")), kTrainImages);
}

TEST_F(YoloFolder, NamesMayComeFromNcAlone) {
  EXPECT_EQ(open("train: images/train\nnc: 2\n").names(), (std::vector<std::string>{"class0", "class1"}));
}

TEST_F(YoloFolder, AYamlThatIsWrongIsRefusedWithTheReason) {
  EXPECT_TRUE(mentions(refusal("train: images/train\n"), "no class is named"));
  EXPECT_TRUE(mentions(refusal("train: images/train\nnames: [a, b]\nnc: 3\n"), "nc is 3, but 2 names"));
  EXPECT_TRUE(mentions(refusal("train: images/train\nnames: {0: a, 2: b}\n"), "numbered 0..1, found 2"));
  EXPECT_TRUE(mentions(refusal("val: images/val\nnames: [a, b]\n"), "has no \"train\""));
  EXPECT_TRUE(mentions(refusal("train: images/nowhere\nnames: [a, b]\n"), "images/nowhere: not found"));
  EXPECT_TRUE(mentions(refusal("path: nowhere\ntrain: images\nnames: [a, b]\n"), "nowhere is no folder"));
  EXPECT_TRUE(mentions(refusal("train: labels\nnames: [a, b]\n"), "has no images"));
  EXPECT_TRUE(mentions(refusal("- a\n- b\n"), "not a map"));
  EXPECT_TRUE(mentions(refusal("names: [a, b\n"), "data.yaml"));
  EXPECT_THROW(Dataset::open_yaml(folder_ / "none.yaml", "train"), DataError);
}

TEST_F(YoloFolder, EveryBadLabelIsListedAtOnce) {
  write_file(folder_ / "labels/train/a.txt", std::string("0 0.5 0.5 0.2 0.4\n2 0.5 0.5 0.1 0.1\n0 1.5 0.5 0.1 0.1\n"));
  write_file(folder_ / "labels/train/background.txt", std::string("0 0.5 0.5\nzero 1 1 1 1\n0 nan 0.5 0.1 0.1\n"));
  const std::string message = refusal("train: images/train\nnames: [cat, dog]\n");
  for (const char* part : {"a.txt: line 2: class 2", "a.txt: line 3: coordinate 1.5", "background.txt: line 1: \"0 0.5",
                           "background.txt: line 2: \"zero 1", "background.txt: line 3: \"0 nan"})
    EXPECT_TRUE(mentions(message, part)) << part << " in " << message;
}

TEST_F(YoloFolder, AFolderStandsForTheDataYamlInIt) {
  open("train: images/train\nnames: [cat, dog]\n");
  EXPECT_EQ(names_of(Dataset::open_yaml(folder_.path(), "train")), kTrainImages);
  try {
    Dataset::open_yaml(folder_ / "images", "train");
    ADD_FAILURE() << "a folder without a yaml was read";
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()),
              (folder_ / "images").string() + ": is a folder without a data.yaml; name the data set's yaml");
  }
}

TEST_F(YoloFolder, AFormatThatIsNotReadIsNamedRatherThanSkipped) {
  write_file(folder_ / "images/train/old.bmp", std::string("BM"));
  EXPECT_TRUE(mentions(refusal("train: images/train\nnames: [cat, dog]\n"), "old.bmp: this format is not read"));
}

TEST_F(YoloFolder, DoubleAndEmptyBoxesAreLeftOutWithAWarning) {
  write_file(folder_ / "labels/train/a.txt", std::string("0 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4\n0 0.5 0.5 0 0.4\n"));
  const Dataset dataset = open("train: images/train\nnames: [cat, dog]\n");
  EXPECT_EQ(dataset.labels(0).size(), 1U);
  const std::string file = (folder_ / "labels/train/a.txt").string();
  EXPECT_EQ(dataset.warnings(), (std::vector<std::string>{file + ": line 2: the same box again",
                                                          file + ": line 3: a box without area"}));
  EXPECT_EQ(dataset.warning_summary(),
            "2 labels were left out: " + file + ": line 2: the same box again; " + file + ": line 3: a box without area");
}

TEST_F(YoloFolder, OfManyLabelsThatAreLeftOutTheFirstAreNamed) {
  std::string lines;
  for (int i = 0; i < 10; ++i) lines += "0 0.5 0.5 0 0.4\n";
  write_file(folder_ / "labels/train/a.txt", lines);
  const std::string summary = open("train: images/train\nnames: [cat, dog]\n").warning_summary();
  EXPECT_TRUE(mentions(summary, "10 labels were left out: ")) << summary;
  EXPECT_TRUE(mentions(summary, "line 3: a box without area; and 7 more")) << summary;
  EXPECT_FALSE(mentions(summary, "line 4")) << summary;
}

TEST_F(YoloFolder, WithoutAnythingLeftOutThereIsNothingToTell) {
  EXPECT_EQ(open("train: images/train\nnames: [cat, dog]\n").warning_summary(), "");
}

TEST_F(YoloFolder, AnImageThatVanishesLaterIsEmptyNotFatal) {
  const Dataset dataset = open("train: images/train\nnames: [cat, dog]\n");
  fs::remove(folder_ / "images/train/a.jpg");
  const Sample sample = dataset.sample(0);
  EXPECT_TRUE(sample.bytes.empty());
  EXPECT_EQ(sample.width, 0);
  EXPECT_EQ(sample.defect, "the file does not exist");
}

TEST_F(YoloFolder, AnImageWhoseSizeCannotBeReadIsAnErrorAndIsAskedForAgain) {
  const Dataset dataset = open("train: images/train\nnames: [cat, dog]\n");
  fs::remove(folder_ / "images/train/a.jpg");
  fs::create_directory(folder_ / "images/train/a.jpg");  // can be opened, but not read
  EXPECT_THROW(dataset.probe(0), std::system_error);
  fs::remove(folder_ / "images/train/a.jpg");
  add_image("images/train/a.jpg");
  EXPECT_TRUE(dataset.probe(0));
}

// --- Trying again -------------------------------------------------------------------------------------------------------

/// Reads 7 once it has failed `failures` times with `error`. Instead of waiting it notes how long it would have.
struct UnsteadyFile {
  int failures;
  std::errc error;
  std::vector<std::chrono::milliseconds> pauses{};

  int read() {
    return read_persistently(
        [this] {
          if (failures-- > 0) throw std::system_error(std::make_error_code(error), "reading a.jpg");
          return 7;
        },
        [this](std::chrono::milliseconds pause) { pauses.push_back(pause); });
  }
};

TEST(PersistentRead, TriesAgainAfterGrowingPauses) {
  UnsteadyFile file{.failures = 3, .error = std::errc::io_error};
  EXPECT_EQ(file.read(), 7);
  EXPECT_EQ(file.pauses.size(), 3U);
  EXPECT_LT(file.pauses.front(), file.pauses.back());
}

TEST(PersistentRead, GivesUpWithTheErrorAfterSomeSeconds) {
  UnsteadyFile file{.failures = 1'000'000, .error = std::errc::io_error};
  EXPECT_THROW(file.read(), std::system_error);
  std::chrono::milliseconds waited{0};
  for (const auto pause : file.pauses) waited += pause;
  EXPECT_GT(waited, std::chrono::seconds(5)) << "a file server's restart";
  EXPECT_LT(waited, std::chrono::seconds(10));
}

TEST(PersistentRead, DoesNotWaitForAFileThatDoesNotExist) {
  UnsteadyFile file{.failures = 1, .error = std::errc::no_such_file_or_directory};
  EXPECT_THROW(file.read(), std::system_error);
  EXPECT_TRUE(file.pauses.empty());
}

TEST_F(YoloFolder, OfAnImageItsHeaderAloneIsReadForItsSize) {
  // A file that nobody could read whole: what follows the header is a hole of 64 GiB.
  fs::resize_file(folder_ / "images/train/a.jpg", uintmax_t{1} << 36);
  const Dataset dataset = open("train: images/train\nnames: [cat, dog]\n");
  const auto info = dataset.probe(0);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->width, 40);
  EXPECT_EQ(info->height, 30);
  EXPECT_DOUBLE_EQ(dataset.shape(0), 0.75);
}

TEST_F(YoloFolder, ASizeBehindLongPreviewsIsFound) {
  auto file = testing::scene_sample("a.jpg", 40, 30, {}).file;
  constexpr size_t kLength = 60'000;  // of an application's segment, its two bytes of length included
  std::vector<uint8_t> segment(2 + kLength, 7);
  segment[0] = 0xFF, segment[1] = 0xE2, segment[2] = kLength >> 8, segment[3] = kLength & 0xFF;
  for (int i = 0; i < 5; ++i) file.insert(file.begin() + 2, segment.begin(), segment.end());
  write_file(folder_ / "images/train/a.jpg", file);
  const Dataset dataset = open("train: images/train\nnames: [cat, dog]\n");
  const auto info = dataset.probe(0);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->width, 40);
  EXPECT_EQ(info->height, 30);
}

TEST_F(YoloFolder, ASizeIsLookedUpOnceForAllCopies) {
  const Dataset dataset = open("train: images/train\nnames: [cat, dog]\n");
  const Dataset copy = dataset;
  EXPECT_TRUE(dataset.probe(0));
  fs::remove(folder_ / "images/train/a.jpg");
  fs::remove(folder_ / "images/train/background.jpg");
  EXPECT_TRUE(copy.probe(0));
  EXPECT_FALSE(copy.probe(1));
  EXPECT_TRUE(std::isinf(copy.shape(1)));
  EXPECT_THROW(copy.probe(3), std::out_of_range);
}

TEST(LabelFile, AnOutlineBecomesTheBoxAroundIt) {
  const TemporaryFolder folder;
  write_file(folder / "a.txt", std::string("3 0.1 0.2 0.5 0.2 0.5 0.6 0.3 0.8\n"));
  const LabelFile file = read_label_file(folder / "a.txt", 4);
  ASSERT_EQ(file.labels.size(), 1U);
  EXPECT_EQ(file.labels[0].cls, 3);
  EXPECT_FLOAT_EQ(file.labels[0].cx, 0.3f);
  EXPECT_FLOAT_EQ(file.labels[0].cy, 0.5f);
  EXPECT_FLOAT_EQ(file.labels[0].w, 0.4f);
  EXPECT_FLOAT_EQ(file.labels[0].h, 0.6f);
}

TEST(LabelFile, ALineThatCannotBeReadIsQuotedWithWhatIsWrong) {
  const TemporaryFolder folder;
  const auto problem = [&](const std::string& line) {
    write_file(folder / "a.txt", line + "\n");
    const LabelFile file = read_label_file(folder / "a.txt", 4);
    EXPECT_TRUE(file.labels.empty()) << line;
    return file.problems.size() == 1 ? file.problems[0] : "";
  };
  const std::string formats =
      "; a line is \"class cx cy w h\" or, of an outline, \"class x1 y1 x2 y2 x3 y3 ...\"";
  EXPECT_EQ(problem("0 0.5 0.5 0.5"), "line 1: \"0 0.5 0.5 0.5\": it has 4 columns" + formats);
  EXPECT_EQ(problem("0 .5 .5 .2 .2 0.93\r"),
            "line 1: \"0 .5 .5 .2 .2 0.93\": it has 6 columns, of which the last looks like the confidence of a "
            "prediction: leave it out" + formats);
  EXPECT_EQ(problem("0 1 2 3 4 5 6 7"), "line 1: \"0 1 2 3 4 5 6 7\": it has 8 columns" + formats);
  EXPECT_EQ(problem("0,0.5,0.5,0.2,0.2"),
            "line 1: \"0,0.5,0.5,0.2,0.2\": columns are separated by blanks, not by commas");
  EXPECT_TRUE(mentions(problem("0, 0.5, 0.5, 0.2, 0.2"), "not by commas"));
  EXPECT_TRUE(mentions(problem("0 0,5 0.5 0.2 0.2"), ": \"0,5\" is not a number; decimals are written with a point"));
  EXPECT_TRUE(mentions(problem("0 0.5 nan 0.2 0.2"), ": \"nan\" is not a finite number"));
  EXPECT_TRUE(mentions(problem("0 0.5 x 0.2 0.2"), ": \"x\" is not a number"));
  EXPECT_TRUE(mentions(problem("1.5 0.5 0.5 0.2 0.2"), ": the class must be a whole number"));
  EXPECT_TRUE(mentions(problem("cat 0.5 0.5 0.2 0.2"), ": \"cat\" is not a number; the class must be one"));
  const std::string cut = problem(std::string(500, 'a') + "\xFF");
  EXPECT_LT(cut.size(), 300U) << "a binary file must not fill the screen";
}

TEST(LabelFile, AByteOrderMarkIsSkipped) {
  const TemporaryFolder folder;
  write_file(folder / "a.txt", std::string("\xEF\xBB\xBF") + "1 0.5 0.5 0.2 0.4\n");
  const LabelFile file = read_label_file(folder / "a.txt", 4);
  EXPECT_TRUE(file.problems.empty());
  ASSERT_EQ(file.labels.size(), 1U);
  EXPECT_EQ(file.labels[0].cls, 1);
}

TEST(LabelFile, LabelsLieBesideTheLastImagesFolder) {
  EXPECT_EQ(label_path_of("/data/images/a/images/train/x.jpg"), fs::path("/data/images/a/labels/train/x.txt"));
  EXPECT_EQ(label_path_of("/data/pictures/x.jpeg"), fs::path("/data/pictures/x.txt"));
  EXPECT_EQ(label_path_of("images/x.y.png"), fs::path("labels/x.y.txt"));
}

}  // namespace
}  // namespace tenfold
