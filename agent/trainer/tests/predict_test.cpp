// `val` and `predict` with a network whose detections are known beforehand.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data_fixtures.h"
#include "exit_code.h"
#include "image.h"
#include "predict.h"
#include "prediction_files.h"
#include "test_detectors.h"
#include "trainer_command.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using testing::mentions;
using testing::run_trainer;
using testing::TemporaryFolder;
using Json = nlohmann::json;

TEST(PictureFit, ABoxComesBackFromTheNetworksSquareWhereItWas) {
  for (const auto& [width, height] : std::vector<std::pair<int, int>>{{640, 480}, {333, 1000}, {1001, 77}, {31, 31}, {3, 900}}) {
    const PictureFit fit = fit_picture(width, height, 640);
    const float x1 = 0.1F * static_cast<float>(width), x2 = 0.7F * static_cast<float>(width);
    const float y1 = 0.2F * static_cast<float>(height), y2 = 0.9F * static_cast<float>(height);
    const std::array<float, 6> row{x1 * fit.scale_x + fit.pad_x, y1 * fit.scale_y + fit.pad_y,
                                   x2 * fit.scale_x + fit.pad_x, y2 * fit.scale_y + fit.pad_y, 0.5F, 2};
    const Prediction back = to_original(row, fit);
    const float tolerance = 1e-5F * static_cast<float>(std::max(width, height));
    EXPECT_NEAR(back.x1, x1, tolerance);
    EXPECT_NEAR(back.x2, x2, tolerance);
    EXPECT_NEAR(back.y1, y1, tolerance);
    EXPECT_NEAR(back.y2, y2, tolerance);
    EXPECT_EQ(back.cls, 2);
  }
}

TEST(PictureFit, MeansThePixelsThatLetterboxingUses) {
  // A white picture on grey: its edges in the square are where the fit says.
  const TemporaryFolder folder;
  testing::write_file(folder / "white.png", encode_png(Image(50, 201, {255, 255, 255})));
  const PictureFile file{folder / "white.png", "white"};
  const ReadPicture read = read_picture(file, 64);
  const auto pixels = read.input.accessor<uint8_t, 3>();
  const auto left = static_cast<int64_t>(read.fit.pad_x);
  const auto right = static_cast<int64_t>(std::lround(read.fit.pad_x + 50 * read.fit.scale_x));
  EXPECT_EQ(pixels[0][32][left], 255);
  EXPECT_EQ(pixels[0][32][right - 1], 255);
  EXPECT_EQ(pixels[0][32][left - 1], 114);
  EXPECT_EQ(pixels[0][32][right], 114);
}

/// Three white pictures of 30 000 bytes each.
class ReadBatch : public ::testing::Test {
 protected:
  ReadBatch() {
    for (const std::string name : {"a", "b", "c"}) {
      testing::write_file(folder_ / (name + ".png"), encode_png(Image(100, 100, {255, 255, 255})));
      files_.push_back({folder_ / (name + ".png"), name});
    }
  }

  TemporaryFolder folder_;
  std::vector<PictureFile> files_;
};

TEST_F(ReadBatch, EndsWithThePictureThatFillsIt) {
  EXPECT_EQ(read_batch(files_, 32, {.pixel_bytes = 40'000}).size(), 2U);
  EXPECT_EQ(read_batch(files_, 32, {.pixel_bytes = 1}).size(), 1U) << "one, however large";
  EXPECT_EQ(read_batch(files_, 32, {.pictures = 2}).size(), 2U);
  const auto whole = read_batch(files_, 32, {});
  ASSERT_EQ(whole.size(), 3U);
  EXPECT_EQ(whole[2].file, &files_[2]);
  EXPECT_EQ(whole[2].image.width, 100);
}

TEST_F(ReadBatch, KeepsNoPixelsThatNothingIsDrawnOn) {
  const auto batch = read_batch(files_, 32, {.pixel_bytes = 1, .keep_pixels = false});
  ASSERT_EQ(batch.size(), 3U) << "what is not kept fills nothing";
  for (const ReadPicture& picture : batch) {
    EXPECT_TRUE(picture.image.empty());
    EXPECT_EQ(picture.image.pixels.size(), 0U);
    EXPECT_TRUE(picture.defect.empty());
    EXPECT_EQ(picture.fit.width, 100);
    EXPECT_EQ(picture.input.size(2), 32);
  }
}

class Detecting : public ::testing::Test {
 protected:
  Detecting() {
    testing::write_detector(weights_, *testing::one_box_detector(), "yolov8n", {"red", "green", "blue"}, 32);
  }

  static std::string read(const fs::path& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
  }

  TemporaryFolder folder_;
  const fs::path weights_ = folder_ / "w.safetensors";
};

TEST_F(Detecting, PredictWritesPicturesLabelsAndJson) {
  testing::write_file(folder_ / "photos/wide.png", encode_png(testing::scene(320, 240, {})));
  testing::write_file(folder_ / "photos/more/tall.jpg", encode_jpeg(testing::scene(64, 128, {})));
  const fs::path out = folder_ / "found";
  const auto [code, output] = run_trainer({"predict", weights_.string(), "source=" + (folder_ / "photos").string(),
                                           "--out", out.string(), "--save-txt", "--save-conf", "--json", "batch=1"});
  ASSERT_EQ(code, 0) << output;
  EXPECT_TRUE(mentions(output, "wide.png: 1 red"));
  EXPECT_TRUE(mentions(output, "2 images, "));

  // Of 32 x 32 pixels the box takes (8, 8) to (24, 24). The wide picture lies in them at a tenth, 4 pixels from the top.
  const Json all = Json::parse(read(out / "predictions.json"));
  ASSERT_EQ(all.size(), 2U);
  const Json& wide = all[1];
  EXPECT_EQ(wide["width"], 320);
  EXPECT_EQ(wide["height"], 240);
  const Json& detection = wide["detections"].at(0);
  EXPECT_EQ(detection["name"], "red");
  EXPECT_NEAR(detection["score"], 0.9, 1e-5);
  const std::vector<double> box = detection["box"], expected = {80, 40, 240, 200};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(box.at(i), expected[i], 1e-3);
  EXPECT_TRUE(mentions(read(out / "labels/wide.txt"), "0 0.500000 0.500000 0.500000 0.666667 0.900000"));
  EXPECT_TRUE(fs::exists(out / "labels/more/tall.txt"));

  // The drawn picture has the picture's own size, and the box's colour on its edge.
  const std::string bytes = read(out / "wide.jpg");
  const Image drawn = decode_image(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  EXPECT_EQ(drawn.width, 320);
  EXPECT_EQ(drawn.height, 240);
  const uint8_t* edge = drawn.row(120) + 3 * 80;
  EXPECT_GT(edge[0], 150);
  EXPECT_LT(edge[1], 110);
}

TEST_F(Detecting, PredictNamesAndSkipsCorruptFilesAndSaysSoAtTheEnd) {
  testing::write_file(folder_ / "photos/a.png", encode_png(testing::scene(64, 64, {})));
  testing::write_file(folder_ / "photos/b.jpg", std::string("no picture"));
  testing::write_file(folder_ / "photos/c.png", encode_png(testing::scene(64, 64, {})));
  const fs::path out = folder_ / "found";
  const auto [code, output] = run_trainer({"predict", weights_.string(), "source=" + (folder_ / "photos").string(),
                                           "out=" + out.string(), "--json"});
  EXPECT_EQ(code, static_cast<int>(ExitCode::bad_data));
  EXPECT_TRUE(mentions(output, "b.jpg: not a JPEG, PNG or WebP file; skipped"));
  EXPECT_TRUE(mentions(output, "2 images, ")) << output;
  EXPECT_TRUE(mentions(output, "1 of 3 files could not be read"));
  EXPECT_TRUE(fs::exists(out / "a.jpg"));
  EXPECT_TRUE(fs::exists(out / "c.jpg"));
  const Json all = Json::parse(read(out / "predictions.json"));
  EXPECT_TRUE(all.at(1).contains("error"));
}

TEST_F(Detecting, PredictOverwritesNoneOfThePicturesThatItIsGiven) {
  const fs::path photo = folder_ / "photos/a.jpg";
  testing::write_file(photo, encode_jpeg(testing::scene(64, 64, {})));
  const auto before = testing::read_file(photo);
  fs::create_directory_symlink(folder_ / "photos", folder_ / "linked");
  for (const char* out : {"photos", "linked", "photos/../photos"}) {
    const auto [code, output] = run_trainer({"predict", weights_.string(), "source=" + (folder_ / "photos").string(),
                                             "out=" + (folder_ / out).string(), "--json", "--save-txt"});
    EXPECT_EQ(code, static_cast<int>(ExitCode::usage)) << out;
    EXPECT_TRUE(mentions(output, "would have a result overwrite " + photo.string())) << output;
    EXPECT_TRUE(mentions(output, "name a folder for results alone")) << output;
  }
  EXPECT_EQ(testing::read_file(photo), before);
  EXPECT_FALSE(fs::exists(folder_ / "photos/predictions.json"));
  EXPECT_FALSE(fs::exists(folder_ / "photos/labels"));

  // What is not drawn overwrites nothing.
  EXPECT_EQ(run_trainer({"predict", weights_.string(), "source=" + photo.string(),
                         "out=" + (folder_ / "photos").string(), "--json", "--no-pictures", "--exist-ok"})
                .code,
            0);
  EXPECT_EQ(testing::read_file(photo), before);
}

TEST_F(Detecting, PredictOfNothingReadableLeavesNoFolder) {
  testing::write_file(folder_ / "b.bmp", std::string("BM"));
  testing::write_file(folder_ / "photos/a.jpg", std::string("no picture"));
  testing::write_file(folder_ / "photos/b.jpg", std::string("no picture"));
  const fs::path out = folder_ / "found";
  const auto one =
      run_trainer({"predict", weights_.string(), "source=" + (folder_ / "b.bmp").string(), "out=" + out.string()});
  EXPECT_EQ(one.code, static_cast<int>(ExitCode::bad_data));
  EXPECT_TRUE(mentions(one.output, "b.bmp: not a JPEG, PNG or WebP file; skipped")) << one.output;
  EXPECT_TRUE(mentions(one.output, "the file could not be read")) << one.output;
  EXPECT_FALSE(mentions(one.output, "results in")) << one.output;
  const auto two =
      run_trainer({"predict", weights_.string(), "source=" + (folder_ / "photos").string(), "out=" + out.string()});
  EXPECT_EQ(two.code, static_cast<int>(ExitCode::bad_data));
  EXPECT_TRUE(mentions(two.output, "none of the 2 files could be read")) << two.output;
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(Detecting, PredictTellsOfPicturesWhoseFormatIsNotRead) {
  testing::write_file(folder_ / "photos/a.png", encode_png(testing::scene(64, 64, {})));
  testing::write_file(folder_ / "photos/b.bmp", std::string("BM"));
  const fs::path out = folder_ / "found";
  const auto [code, output] =
      run_trainer({"predict", weights_.string(), "source=" + (folder_ / "photos").string(), "out=" + out.string()});
  EXPECT_EQ(code, 0) << output;
  EXPECT_TRUE(mentions(output, "warning: 1 file is of a format that is not read (bmp)")) << output;
  EXPECT_TRUE(mentions(output, "1 image, ")) << output;
  EXPECT_TRUE(mentions(output, "results in " + out.string())) << output;
}

TEST_F(Detecting, PredictMixesTheResultsOfTwoRunsOnlyWhereItIsTold) {
  testing::write_file(folder_ / "png/same.png", encode_png(testing::scene(64, 64, {})));
  testing::write_file(folder_ / "jpg/same.jpg", encode_jpeg(testing::scene(96, 96, {})));
  const fs::path out = folder_ / "found";
  const auto predict = [&](const std::string& source, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"predict", weights_.string(), "source=" + (folder_ / source).string(),
                                      "out=" + out.string()};
    words.insert(words.end(), more.begin(), more.end());
    return run_trainer(words);
  };
  ASSERT_EQ(predict("png").code, 0);
  const auto first = testing::read_file(out / "same.jpg");
  const auto second = predict("jpg");
  EXPECT_EQ(second.code, static_cast<int>(ExitCode::usage));
  EXPECT_TRUE(mentions(second.output, out.string() + " is not empty")) << second.output;
  EXPECT_TRUE(mentions(second.output, "--exist-ok")) << second.output;
  EXPECT_EQ(testing::read_file(out / "same.jpg"), first);

  EXPECT_EQ(predict("jpg", {"exist_ok=true"}).code, 0);
  EXPECT_EQ(probe_image(testing::read_file(out / "same.jpg")).width, 96);
}

TEST_F(Detecting, PredictAndValTakeADeviceByItsNumberAlone) {
  testing::write_file(folder_ / "a.png", encode_png(testing::scene(64, 64, {})));
  const auto predict_on = [&](const std::string& device) {
    return run_trainer(
        {"predict", weights_.string(), "source=" + (folder_ / "a.png").string(), "--no-pictures", "device=" + device});
  };
  const auto alone = predict_on("0"), named = predict_on("cuda:0");
  EXPECT_EQ(alone.code, named.code) << "with a GPU and without";
  EXPECT_NE(alone.code, static_cast<int>(ExitCode::usage)) << alone.output;
  for (const char* wrong : {"gpu", "0,1", "-1", "cuda:", "cuda:x"}) {
    const auto [code, output] = predict_on(wrong);
    EXPECT_EQ(code, static_cast<int>(ExitCode::usage)) << wrong;
    EXPECT_TRUE(mentions(output, "the number of one GPU as N or cuda:N, not " + std::string(wrong))) << output;
  }
}

TEST_F(Detecting, PredictWritesANameWithALineBreakInOneLine) {
  const fs::path weights = folder_ / "broken.safetensors";
  testing::write_detector(weights, *testing::one_box_detector(), "yolov8n", {"dark\nred", "green", "blue"}, 32);
  testing::write_file(folder_ / "a.png", encode_png(testing::scene(64, 64, {})));
  const auto [code, output] = run_trainer({"predict", weights.string(), "source=" + (folder_ / "a.png").string(),
                                           "out=" + (folder_ / "found").string(), "--json"});
  EXPECT_EQ(code, 0) << output;
  EXPECT_TRUE(mentions(output, "a.png: 1 dark red\n")) << output;
  const Json all = Json::parse(read(folder_ / "found/predictions.json"));
  EXPECT_EQ(all.at(0)["detections"].at(0)["name"], "dark\nred") << "as it is";
}

TEST_F(Detecting, PredictOverwritesNoLabelsOfThePicturesThatItIsGiven) {
  testing::write_file(folder_ / "data/images/a.png", encode_png(testing::scene(64, 64, {})));
  const fs::path labels = folder_ / "data/labels/a.txt";
  testing::write_file(labels, std::string("2 0.1 0.1 0.1 0.1\n"));
  const auto [code, output] = run_trainer({"predict", weights_.string(), "source=" + (folder_ / "data/images").string(),
                                           "out=" + (folder_ / "data").string(), "--save-txt"});
  EXPECT_EQ(code, static_cast<int>(ExitCode::usage));
  EXPECT_TRUE(mentions(output, "overwrite " + labels.string())) << output;
  EXPECT_EQ(read(labels), "2 0.1 0.1 0.1 0.1\n");
  EXPECT_FALSE(fs::exists(folder_ / "data/a.jpg"));
}

TEST_F(Detecting, PredictDrawsOnAReducedPictureWhatNoJpegCouldHold) {
  testing::write_file(folder_ / "photos/a.png", encode_png(Image(66'000, 40, {255, 255, 255})));
  testing::write_file(folder_ / "photos/b.png", encode_png(testing::scene(64, 64, {})));
  const fs::path out = folder_ / "found";
  const auto [code, output] = run_trainer({"predict", weights_.string(), "source=" + (folder_ / "photos").string(),
                                           "out=" + out.string(), "--json"});
  ASSERT_EQ(code, 0) << output;
  const auto drawn = probe_image(testing::read_file(out / "a.jpg"));
  EXPECT_EQ(drawn.width, 65'500);
  EXPECT_EQ(drawn.height, 40);
  EXPECT_TRUE(fs::exists(out / "b.jpg"));
  const Json all = Json::parse(read(out / "predictions.json"));
  EXPECT_EQ(all.at(0)["width"], 66'000) << "of the picture itself";
  EXPECT_EQ(all.size(), 2U);
}

TEST(DrawnPicture, HasItsBoxesWhereTheyAreInTheReducedPicture) {
  const TemporaryFolder folder;
  const Prediction found{.cls = 0, .score = 0.9F, .x1 = 33'000, .y1 = 0, .x2 = 49'500, .y2 = 100};
  write_drawn_picture(folder / "wide.jpg", Image(66'000, 100, {255, 255, 255}), {found}, {"red"});
  const Image drawn = decode_image(testing::read_file(folder / "wide.jpg"));
  ASSERT_EQ(drawn.width, 65'500);
  const auto is_white = [&](int x) { return drawn.row(60)[3 * x + 1] > 200; };  // red has little green
  EXPECT_FALSE(is_white(32'750)) << "half of the width";
  EXPECT_FALSE(is_white(49'124)) << "three quarters";
  EXPECT_TRUE(is_white(33'000));
  EXPECT_TRUE(is_white(49'500));
}

TEST_F(Detecting, PredictKeepsToItsThresholds) {
  testing::write_file(folder_ / "a.png", encode_png(testing::scene(64, 64, {})));
  const std::vector<std::string> words = {"predict", weights_.string(), "source=" + (folder_ / "a.png").string(),
                                          "out=" + (folder_ / "found").string(), "--no-pictures"};
  auto sure = words, unsure = words;
  sure.push_back("conf=0.95");
  unsure.push_back("conf=0.85");
  EXPECT_TRUE(mentions(run_trainer(sure).output, "a.png: nothing"));
  EXPECT_TRUE(mentions(run_trainer(unsure).output, "a.png: 1 red"));
  EXPECT_FALSE(fs::exists(folder_ / "found/a.jpg"));
  EXPECT_EQ(run_trainer({"predict", weights_.string()}).code, static_cast<int>(ExitCode::usage));
}

TEST_F(Detecting, ValPrintsATableAndWritesJson) {
  // Two pictures where the network's one box is right, one without an object, one whose object it misses.
  const fs::path data = folder_ / "data";
  const std::vector<std::string> labels = {"0 0.5 0.5 0.5 0.5\n", "0 0.5 0.5 0.5 0.5\n", "", "1 0.2 0.2 0.1 0.1\n"};
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::string stem = std::to_string(i);
    testing::write_file(data / ("images/val/" + stem + ".png"), encode_png(testing::scene(64, 64, {})));
    testing::write_file(data / ("labels/val/" + stem + ".txt"), labels[i]);
  }
  testing::write_file(data / "data.yaml", std::string("train: images/val\nval: images/val\nnames: [red, green, blue]\n"));
  // The one box lies at a fixed place of the input, in the middle where that is the picture's square.
  const auto [code, output] = run_trainer({"val", weights_.string(), "data=" + (data / "data.yaml").string(), "batch=3",
                                           "--square", "--json", (folder_ / "metrics.json").string()});
  ASSERT_EQ(code, 0) << output;
  EXPECT_TRUE(mentions(output, "class                      labels         P         R     mAP50  mAP50-95"));
  EXPECT_TRUE(mentions(output, "red                             2"));
  EXPECT_TRUE(mentions(output, "green                           1    0.0000    0.0000    0.0000    0.0000"));
  const Json metrics = Json::parse(read(folder_ / "metrics.json"));
  EXPECT_EQ(metrics["images"], 4);
  EXPECT_EQ(metrics["labels"], 3);
  EXPECT_NEAR(metrics["classes"][0]["ap50"], 1, 1e-9);
  EXPECT_NEAR(metrics["map50"], 0.5, 1e-9);
  EXPECT_NEAR(metrics["map50_95"], 0.5, 1e-9);
  EXPECT_EQ(metrics["classes"][0]["ap"].size(), 10U);
}

TEST_F(Detecting, ValCountsTheObjectsOfAPictureThatCannotBeReadAsMissed) {
  // The network finds its one box in whatever it is shown, in plain grey as well.
  testing::write_file(folder_ / "data/images/a.png", encode_png(testing::scene(64, 64, {})));
  testing::write_file(folder_ / "data/labels/a.txt", std::string("0 0.5 0.5 0.5 0.5\n"));
  testing::write_file(folder_ / "data/images/b.png", std::string("no picture"));
  testing::write_file(folder_ / "data/labels/b.txt", std::string("0 0.5 0.5 0.5 0.5\n"));
  testing::write_file(folder_ / "data/data.yaml", std::string("train: images\nval: images\nnames: [red, green, blue]\n"));
  const auto [code, output] = run_trainer({"val", weights_.string(), "data=" + (folder_ / "data/data.yaml").string(),
                                           "--square", "--json", (folder_ / "metrics.json").string()});
  ASSERT_EQ(code, 0) << output;
  EXPECT_TRUE(mentions(output, "b.png: not a JPEG, PNG or WebP file; its objects count as missed")) << output;
  const Json metrics = Json::parse(read(folder_ / "metrics.json"));
  EXPECT_EQ(metrics["corrupt_images"], 1);
  EXPECT_EQ(metrics["images"], 2);
  EXPECT_EQ(metrics["labels"], 2);
  EXPECT_NEAR(metrics["recall"], 0.5, 1e-6);
  EXPECT_NEAR(metrics["precision"], 1, 1e-6) << "nothing was found in grey";
}

TEST_F(Detecting, ValTellsOfLabelsThatWereLeftOut) {
  testing::write_file(folder_ / "data/images/a.png", encode_png(testing::scene(64, 64, {})));
  testing::write_file(folder_ / "data/labels/a.txt", std::string("0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n"));
  testing::write_file(folder_ / "data/data.yaml", std::string("train: images\nval: images\nnames: [red, green, blue]\n"));
  const auto [code, output] = run_trainer({"val", weights_.string(), "data=" + (folder_ / "data/data.yaml").string()});
  ASSERT_EQ(code, 0) << output;
  EXPECT_TRUE(mentions(output, "warning: 1 label was left out: ")) << output;
  EXPECT_TRUE(mentions(output, "labels/a.txt: line 2: the same box again")) << output;
}

TEST_F(Detecting, ValTakesAveragePrecisionByTheRuleAsked) {
  testing::write_file(folder_ / "data/images/a.png", encode_png(testing::scene(64, 64, {})));
  testing::write_file(folder_ / "data/labels/a.txt", std::string("0 0.5 0.5 0.5 0.5\n0 0.1 0.1 0.1 0.1\n"));
  testing::write_file(folder_ / "data/data.yaml", std::string("train: images\nval: images\nnames: [red, green, blue]\n"));
  const auto map50 = [&](const std::string& rule) {
    const auto [code, output] = run_trainer({"val", weights_.string(), "data=" + (folder_ / "data/data.yaml").string(),
                                             "--square", "ap=" + rule, "--json", (folder_ / "metrics.json").string()});
    EXPECT_EQ(code, rule == "mine" ? static_cast<int>(ExitCode::usage) : 0) << output;
    return Json::parse(read(folder_ / "metrics.json"))["map50"].get<double>();
  };
  EXPECT_NEAR(map50("coco"), 51 / 101.0, 1e-6) << "precision 1 at recalls 0, 0.01, …, 0.50";
  EXPECT_NEAR(map50("published"), 0.75, 0.01) << "and a straight line down from there";
  map50("mine");
}

TEST_F(Detecting, ValHasALineAClassWhateverItsName) {
  const fs::path weights = folder_ / "broken.safetensors";
  testing::write_detector(weights, *testing::one_box_detector(), "yolov8n", {"dark\r\nred", "green", "blue"}, 32);
  testing::write_file(folder_ / "data/images/a.png", encode_png(testing::scene(64, 64, {})));
  testing::write_file(folder_ / "data/labels/a.txt", std::string("0 0.5 0.5 0.5 0.5\n"));
  testing::write_file(folder_ / "data/data.yaml",
                      std::string("train: images\nval: images\nnames: [\"dark\\r\\nred\", green, blue]\n"));
  const auto [code, output] = run_trainer({"val", weights.string(), "data=" + (folder_ / "data/data.yaml").string()});
  ASSERT_EQ(code, 0) << output;
  EXPECT_TRUE(mentions(output, "\ndark red                        1 ")) << output;
}

TEST_F(Detecting, ValSaysWhatDoesNotFit) {
  testing::write_file(folder_ / "data/images/a.png", encode_png(testing::scene(64, 64, {})));
  testing::write_file(folder_ / "data/data.yaml", std::string("train: images\nval: images\nnames: [red]\n"));
  const std::string data = "data=" + (folder_ / "data/data.yaml").string();
  const auto classes = run_trainer({"val", weights_.string(), data});
  EXPECT_EQ(classes.code, static_cast<int>(ExitCode::bad_data));
  EXPECT_TRUE(mentions(classes.output, "the data set has 1 class, the weights are for 3"));
  const auto split = run_trainer({"val", weights_.string(), data, "split=test"});
  EXPECT_EQ(split.code, static_cast<int>(ExitCode::bad_data));
  EXPECT_TRUE(mentions(split.output, "has no \"test\""));
  EXPECT_EQ(run_trainer({"val", weights_.string()}).code, static_cast<int>(ExitCode::usage));
}

}  // namespace
}  // namespace tenfold
