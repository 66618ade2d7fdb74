#include "model_spec.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace tenfold {
namespace {

/// A yaml with one small network; `more` is appended to its top level.
std::string small_yaml(const std::string& more = "") {
  return "family: v8\n" + more +
         "layers:\n"
         "  - {block: Conv, from: image, channels: 64, kernel: 3, stride: 2}\n"
         "  - {id: half, block: C2f, channels: 100, repeats: 6, shortcut: true}\n"
         "  - {block: Concat, from: [previous, half, 0]}\n"
         "  - {block: Detect, from: previous}\n";
}

std::string error_of(const std::string& yaml, const std::string& size = "") {
  try {
    parse_model_spec(yaml, size, "mine.yaml");
  } catch (const ModelError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ModelSpec, ReadsLayersAsWrittenWhereThereAreNoSizes) {
  const auto spec = parse_model_spec(small_yaml(), "", "mine.yaml");
  ASSERT_EQ(spec.layers.size(), 4U);
  EXPECT_EQ(spec.layers[0].inputs, std::vector<int>{-1});
  EXPECT_EQ(spec.layers[0].channels, 64);
  EXPECT_EQ(spec.layers[0].options.at("stride"), std::vector<double>{2});
  EXPECT_EQ(spec.layers[1].inputs, std::vector<int>{0});
  EXPECT_EQ(spec.layers[1].options.at("shortcut"), std::vector<double>{1});
  EXPECT_EQ(spec.layers[2].inputs, (std::vector<int>{1, 1, 0}));
}

TEST(ModelSpec, IsTheSameNetworkHoweverItIsWrittenAndCalled) {
  const auto spec = parse_model_spec(small_yaml(), "", "mine.yaml");
  EXPECT_TRUE(same_network(spec, parse_model_spec("# a remark\n" + small_yaml("# and one\n"), "", "yours.yaml")));
  const std::string sizes = "sizes: {a: {width: 1}, b: {width: 2}}\n";
  EXPECT_TRUE(same_network(spec, parse_model_spec(small_yaml(sizes), "a", "mine.yaml")));
  EXPECT_FALSE(same_network(spec, parse_model_spec(small_yaml(sizes), "b", "mine.yaml")));
  std::string other_family = small_yaml();
  other_family.replace(other_family.find("v8"), 2, "v5");
  EXPECT_FALSE(same_network(spec, parse_model_spec(other_family, "", "mine.yaml")));
}

TEST(ModelSpec, ScalesDepthAndWidthAndCapsChannels) {
  const std::string sizes = "sizes:\n  t: {depth: 0.34, width: 0.5, max_channels: 96}\n";
  const auto spec = parse_model_spec(small_yaml(sizes), "t", "mine.yaml");
  EXPECT_EQ(spec.layers[0].channels, 32);
  EXPECT_EQ(spec.layers[1].channels, 48) << "capped at 96, halved, a multiple of 8";
  EXPECT_EQ(spec.layers[1].repeats, 2) << "6 * 0.34, rounded";
  EXPECT_EQ(spec.layers[0].repeats, 1);
}

TEST(ModelSpec, TakesOtherKeysAtSomeSizes) {
  const std::string yaml =
      "family: v8\nsizes: {a: {width: 1}, b: {width: 2}}\nlayers:\n"
      "  - {block: C2f, from: image, channels: 64, shortcut: true, at_size: {b: {block: C2fCIB, channels: 32}}}\n";
  const auto a = parse_model_spec(yaml, "a", "x").layers[0], b = parse_model_spec(yaml, "b", "x").layers[0];
  EXPECT_EQ(a.block, "C2f");
  EXPECT_EQ(a.channels, 64);
  EXPECT_EQ(b.block, "C2fCIB");
  EXPECT_EQ(b.channels, 64) << "32, twice as wide";
  EXPECT_EQ(b.options.at("shortcut"), std::vector<double>{1}) << "as at other sizes";
  EXPECT_EQ(error_of("family: v8\nlayers:\n  - {block: C2f, at_size: {z: {channels: 8}}}\n"),
            "mine.yaml:3: layer 0: at_size: unknown size \"z\"; known: ");
}

TEST(ModelSpec, JoinsListsOfEqualLength) {
  const auto spec = [](const std::string& anchors) {
    return "family: v5\nlayers:\n  - {block: AnchorDetect, from: image, anchors: " + anchors + "}\n";
  };
  EXPECT_EQ(parse_model_spec(spec("[[1, 2], [3, 4]]"), "", "x").layers[0].options.at("anchors"),
            (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(error_of(spec("[[1, 2], [3]]")), "mine.yaml:3: layer 0: anchors: its lists must be equally long");
}

TEST(ModelSpec, RoundsChannelsUpToAMultipleOfEight) {
  const auto spec = parse_model_spec(small_yaml(), "", "mine.yaml");
  EXPECT_EQ(spec.layers[1].channels, 104);
}

TEST(ModelSpec, SizeComesFromTheCallerThenTheFileThenBeingTheOnlyOne) {
  const std::string two = "sizes: {a: {width: 0.5}, b: {width: 2}}\n";
  EXPECT_EQ(parse_model_spec(small_yaml(two), "b", "x").layers[0].channels, 128);
  EXPECT_EQ(parse_model_spec(small_yaml(two + "size: a\n"), "", "x").layers[0].channels, 32);
  EXPECT_EQ(parse_model_spec(small_yaml("sizes: {only: {width: 2}}\n"), "", "x").layers[0].channels, 128);
  EXPECT_EQ(error_of(small_yaml(two)), "mine.yaml:2: which size? Add a line `size: …` with one of a, b");
  EXPECT_EQ(error_of(small_yaml(two), "c"), "mine.yaml:2: unknown size \"c\"; known: a, b");
  EXPECT_EQ(error_of(small_yaml("size: n\n")), "mine.yaml:2: size \"n\", but the file has no `sizes`");
}

TEST(ModelSpec, ErrorsNameTheLineAndWhatWouldBeRight) {
  EXPECT_EQ(error_of("family: v8\n"), "mine.yaml:1: `layers` is missing");
  EXPECT_EQ(error_of("family: v7\nlayers: []\n"), "mine.yaml:1: unknown family \"v7\"; known: v5, v8, v10");
  EXPECT_EQ(error_of("family: v8\nlayer: []\n"),
            "mine.yaml:2: unknown key \"layer\"; known: family, sizes, size, layers");
  EXPECT_EQ(error_of("family: v8\nlayers:\n  - {block: Conv, channels: many}\n"),
            "mine.yaml:3: layer 0: channels must be a whole number of 1 to 65536, not \"many\"");
  EXPECT_EQ(error_of("family: v8\nlayers:\n  - {block: Conv, channels: 99999999999}\n"),
            "mine.yaml:3: layer 0: channels must be a whole number of 1 to 65536, not \"99999999999\"");
  EXPECT_EQ(error_of("family: v8\nlayers:\n  - {block: Conv, repeats: 0}\n"),
            "mine.yaml:3: layer 0: repeats must be a whole number of 1 to 1000, not \"0\"");
  EXPECT_EQ(error_of("family: v8\nlayers:\n  - {block: Conv, from: neck}\n"),
            "mine.yaml:3: layer 0: from: no earlier layer has the id neck");
  EXPECT_EQ(error_of("family: v8\nlayers:\n  - {block: Conv, from: 3}\n"),
            "mine.yaml:3: layer 0: from: 3 is not an earlier layer");
  EXPECT_EQ(error_of("family: v8\nlayers:\n  - {id: a, block: Conv, from: image}\n  - {id: a, block: Conv}\n"),
            "mine.yaml:4: layer 1: id \"a\" names two layers");
  EXPECT_TRUE(error_of("family: [").starts_with("mine.yaml: not a yaml file:"));
}

TEST(ModelSpec, KnowsItsBuiltInNetworksWithoutAnyFile) {
  EXPECT_EQ(built_in_models(),
            (std::vector<std::string>{"yolov10n", "yolov10s", "yolov10m", "yolov10b", "yolov10l", "yolov10x", "yolov5n",
                                      "yolov5s", "yolov5m", "yolov5l", "yolov5x", "yolov8n", "yolov8s", "yolov8m",
                                      "yolov8l", "yolov8x"}));
  const auto spec = load_model_spec("yolov8m");
  EXPECT_EQ(spec.name, "yolov8m");
  EXPECT_EQ(spec.layers.size(), 23U);
  EXPECT_EQ(spec.layers[9].channels, 576) << "1024 capped at 768, times 0.75";
  EXPECT_EQ(load_model_spec("yolov8m.yaml").name, "yolov8m");
}

std::string loading_error(const std::string& arch) {
  try {
    load_model_spec(arch);
  } catch (const ModelError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ModelSpec, NamesTheModelsThereAreWhereOneIsUnknown) {
  EXPECT_EQ(loading_error("yolov8z"),
            "no model \"yolov8z\": neither a yaml file nor one of yolov10n, yolov10s, yolov10m, yolov10b, yolov10l, "
            "yolov10x, yolov5n, yolov5s, yolov5m, yolov5l, yolov5x, yolov8n, yolov8s, yolov8m, yolov8l, yolov8x; "
            "did you mean `yolov8n`?");
}

TEST(ModelSpec, UnderstandsWhatUsersOfOtherToolsTypeFirst) {
  for (const std::string meant : {"yolo8n", "YOLOv8n", "yolov8-n", "models/yolo8n.yaml"})
    EXPECT_TRUE(loading_error(meant).ends_with("; did you mean `yolov8n`?")) << loading_error(meant);
  for (const std::string sizeless : {"yolov8", "yolov8.yaml"})
    EXPECT_EQ(loading_error(sizeless),
              "no model \"" + sizeless + "\": which size? There are yolov8n, yolov8s, yolov8m, yolov8l, yolov8x");
  EXPECT_EQ(loading_error("yolov8n.pt"),
            "no model \"yolov8n.pt\": that is a PyTorch checkpoint; a model is a built-in name or a model yaml, here "
            "`yolov8n`. To start from the checkpoint's weights: tenfold-trainer import yolov8n.pt, then "
            "weights=yolov8n.safetensors (model.weights in a config)");
  EXPECT_NE(loading_error("runs/best.pt").find("a model yaml. To start from"), std::string::npos);
  EXPECT_NE(loading_error("best.safetensors").find("weights=best.safetensors"), std::string::npos);
}

TEST(ModelSpec, TellsTheFormatOfOtherToolsApart) {
  const std::string error =
      error_of("nc: 80\nscales:\n  n: [0.33, 0.25, 1024]\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]]\n");
  EXPECT_TRUE(error.starts_with("mine.yaml:")) << error;
  EXPECT_NE(error.find("a model yaml of another YOLO tool"), std::string::npos) << error;
  EXPECT_NE(error.find("`tenfold-trainer inspect yolov8n --yaml`"), std::string::npos) << error;
  EXPECT_NE(error_of("nc: 3\ndepth_multiple: 0.33\nhead: []\n").find("another YOLO tool"), std::string::npos);
}

TEST(ModelSpec, KnowsTheLinesOfItsLayers) {
  const auto spec = parse_model_spec(small_yaml("# a remark\n"), "", "mine.yaml");
  EXPECT_EQ(layer_in_text(spec, 2), "mine.yaml:6: layer 2 (Concat)");
}

TEST(ModelSpec, LoadsAUsersFileAndTheSizeThatItsNameCarries) {
  const auto folder = std::filesystem::temp_directory_path() / ("tenfold-spec-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "mine.yaml") << small_yaml("sizes: {a: {width: 0.5}, b: {width: 2}}\n");
  const auto spec = load_model_spec((folder / "mineb.yaml").string());
  EXPECT_EQ(spec.name, "mineb");
  EXPECT_EQ(spec.layers[0].channels, 128);
  std::ofstream(folder / "yolov8n.yaml") << small_yaml();
  EXPECT_EQ(load_model_spec((folder / "yolov8n.yaml").string()).layers.size(), 4U) << "a file that exists goes first";
  const auto empty = folder / "empty.yaml";
  std::ofstream{empty};
  EXPECT_EQ(loading_error(empty.string()), empty.string() + ": is empty");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tenfold
