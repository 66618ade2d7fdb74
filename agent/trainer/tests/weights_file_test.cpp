// From a weights file back to the network it belongs to.
#include <gtest/gtest.h>

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "data_fixtures.h"
#include "model.h"
#include "exit_code.h"
#include "test_detectors.h"
#include "weights_file.h"

namespace tenfold {
namespace {

using testing::mentions;
using testing::TemporaryFolder;

constexpr const char* kOwnYaml = R"(family: v8
layers:
  - {block: Conv, from: image, channels: 16, kernel: 3, stride: 2}
  - {block: Conv, channels: 16, kernel: 3, stride: 2}
  - {id: fine, block: C2f, channels: 16, repeats: 2, shortcut: true}
  - {id: coarse, block: Conv, channels: 32, kernel: 3, stride: 2}
  - {block: Detect, from: [fine, coarse], reg_max: 8}
)";

std::string problem_of(const std::filesystem::path& file, const std::optional<std::string>& arch = {}) {
  try {
    load_detector(file, arch);
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    return error.what();
  }
  return "";
}

TEST(WeightsFile, GivesTheSameDetectorAgain) {
  const TemporaryFolder folder;
  const auto model = testing::lively_detector("yolov8n", 3);
  testing::write_detector(folder / "w.safetensors", *model, "yolov8n", {"red", "green", "blue"}, 96);
  const LoadedDetector loaded = load_detector(folder / "w.safetensors", std::nullopt);
  EXPECT_EQ(loaded.arch, "yolov8n");
  EXPECT_EQ(loaded.names, (std::vector<std::string>{"red", "green", "blue"}));
  EXPECT_EQ(loaded.imgsz, 96);
  const at::NoGradGuard no_grad;
  const auto image = at::rand({1, 3, 64, 64});
  EXPECT_TRUE(at::equal(loaded.model->forward(image)[0], model->forward(image)[0]));
}

TEST(WeightsFile, CarriesTheYamlOfAUsersOwnNetwork) {
  const TemporaryFolder folder;
  testing::write_file(folder / "mine.yaml", std::string(kOwnYaml));
  const std::string arch = (folder / "mine.yaml").string();
  testing::write_detector(folder / "w.safetensors", *testing::lively_detector(arch, 2), arch, {"a", "b"}, 64);
  std::filesystem::remove(folder / "mine.yaml");
  const LoadedDetector loaded = load_detector(folder / "w.safetensors", std::nullopt);
  EXPECT_EQ(loaded.model->strides(), (std::vector<int>{4, 8}));
  EXPECT_EQ(loaded.model->head_layout().reg_max, 8);
}

TEST(WeightsFile, FindsTheBuiltInNetworkOfWeightsThatSayNothing) {
  const TemporaryFolder folder;
  write_safetensors(folder / "w.safetensors", named_state(*testing::lively_detector("yolov8s", 4)), {});
  const LoadedDetector loaded = load_detector(folder / "w.safetensors", std::nullopt);
  EXPECT_EQ(loaded.arch, "yolov8s");
  EXPECT_EQ(loaded.model->nc(), 4);
  EXPECT_EQ(loaded.names.size(), 4U);
}

TEST(WeightsFile, NumbersThatAreNotFiniteAreRefusedByTheNameOfTheirTensor) {
  const TemporaryFolder folder;
  const auto model = testing::lively_detector("yolov8n", 1);
  {
    const at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : named_state(*model))
      if (name == "model.3.conv.weight") tensor.view(-1)[7] = std::nan("");
  }
  testing::write_detector(folder / "w.safetensors", *model, "yolov8n", {"red"}, 96);
  EXPECT_TRUE(mentions(problem_of(folder / "w.safetensors"), "w.safetensors: model.3.conv.weight holds numbers that are NaN"));
}

TEST(WeightsFile, ErrorsSayWhatToDo) {
  const TemporaryFolder folder;
  EXPECT_TRUE(mentions(problem_of(folder / "none.safetensors"), "no such file"));
  EXPECT_TRUE(mentions(problem_of("best.pt"), "tenfold-trainer import best.pt"));
  testing::write_file(folder / "text.safetensors", std::string("hello, this is no weights file at all"));
  EXPECT_TRUE(mentions(problem_of(folder / "text.safetensors"), "does not fit in the file"));
  testing::write_detector(folder / "w.safetensors", *testing::lively_detector("yolov8n", 3), "yolov8n", {}, 64);
  EXPECT_TRUE(mentions(problem_of(folder / "w.safetensors", "yolov8s"), "does not fit yolov8s"));
  write_safetensors(folder / "odd.safetensors", {{"weight", at::zeros({3})}}, {});
  EXPECT_TRUE(mentions(problem_of(folder / "odd.safetensors"), "arch="));
}

}  // namespace
}  // namespace tenfold
