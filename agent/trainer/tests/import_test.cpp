// Checkpoints that PyTorch itself made, imported by the real command: sound ones, lying ones, malicious ones.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <fstream>
#include <set>

#include "checkers.h"
#include "data_fixtures.h"
#include "model.h"
#include "exit_code.h"
#include "safetensors.h"
#include "test_detectors.h"
#include "trainer_command.h"
#include "weights_file.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using testing::mentions;
using testing::run_trainer;
using testing::TemporaryFolder;

std::set<std::string> files_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

class Import : public ::testing::Test {
 protected:
  /// One folder of checkpoints for all tests: making them takes PyTorch seconds.
  static void SetUpTestSuite() {
    if (!testing::checkers_have("torch")) return;
    folder_ = std::make_unique<TemporaryFolder>();
    model_ = testing::lively_detector("yolov8n", 3);
    write_safetensors(*folder_ / "given.safetensors", named_state(*model_), {});
    fs::create_directories(*folder_ / "made");
    testing::run_checker("make_checkpoints.py", testing::shell_word(*folder_ / "given.safetensors") + " " +
                                                    testing::shell_word(*folder_ / "made") + " " +
                                                    testing::shell_word(*folder_ / "MARK"));
  }
  static void TearDownTestSuite() {
    folder_.reset();
    model_.reset();
  }

  void SetUp() override {
    if (folder_ == nullptr)
      GTEST_SKIP() << "no PyTorch in " << testing::checkers_python() << " (deploy/checkers makes one)";
  }

  static fs::path made(const std::string& name) { return *folder_ / ("made/" + name); }

  /// Imports a checkpoint into a file of its own, and reads that.
  SafeTensors imported(const std::string& name, std::string* said = nullptr) {
    const fs::path out = *folder_ / "imported/to/weights.safetensors";
    const auto [code, output] = run_trainer({"import", made(name).string(), "--out", out.string()});
    EXPECT_EQ(code, 0) << output;
    if (said != nullptr) *said = output;
    if (code != 0) return {};
    SafeTensors read = read_safetensors(out);
    fs::remove(out);
    return read;
  }

  /// Every tensor of the network that the checkpoints were made from, within the precision of half floats or exactly.
  static void expect_all_tensors(const SafeTensors& read, bool halves) {
    const std::map<std::string, at::Tensor> by_name(read.tensors.begin(), read.tensors.end());
    const auto wanted = named_state(*model_);
    EXPECT_EQ(by_name.size(), wanted.size());
    for (const auto& [name, tensor] : wanted) {
      const auto found = by_name.find(name);
      ASSERT_NE(found, by_name.end()) << name;
      const bool floats = tensor.is_floating_point();
      const at::Tensor expected = halves && floats ? tensor.to(at::kHalf).to(at::kFloat) : tensor.detach();
      EXPECT_TRUE(at::equal(found->second, expected)) << name;
    }
  }

  static std::unique_ptr<TemporaryFolder> folder_;
  static std::shared_ptr<Detector> model_;
};

std::unique_ptr<TemporaryFolder> Import::folder_;
std::shared_ptr<Detector> Import::model_;

TEST_F(Import, TakesTheAverageOfAPublishedCheckpoint) {
  std::string said;
  const SafeTensors read = imported("ema_half.pt", &said);
  expect_all_tensors(read, /*halves=*/true);
  EXPECT_TRUE(mentions(said, "ema (ultralytics.nn.tasks.DetectionModel)"));
  EXPECT_TRUE(mentions(said, "of yolov8n, 3 classes"));
  EXPECT_EQ(read.metadata.at("arch"), "yolov8n");
  EXPECT_EQ(read.metadata.at("nc"), "3");
  EXPECT_EQ(read.metadata.at("names"), R"(["red","green","blue"])");
  EXPECT_EQ(read.metadata.at("stride"), "32");
  EXPECT_EQ(read.metadata.at("imgsz"), "96");
}

TEST_F(Import, TakesAModelOfTheOlderLayout) {
  const SafeTensors read = imported("model_module.pt");
  expect_all_tensors(read, /*halves=*/false);
  EXPECT_EQ(read.metadata.at("names"), R"(["red","green","blue"])");
}

TEST_F(Import, TakesStateDictsWrappedOrNot) {
  const SafeTensors plain = imported("state_dict.pt");
  expect_all_tensors(plain, /*halves=*/false);
  EXPECT_EQ(plain.metadata.at("nc"), "3");  // told by the last layer's shape
  expect_all_tensors(imported("wrapped.pt"), /*halves=*/false);
}

TEST_F(Import, OverwritesAFileOnlyWhereThatIsTold) {
  const fs::path out = *folder_ / "mine.safetensors";
  testing::write_file(out, std::string("mine"));
  std::vector<std::string> words = {"import", made("state_dict.pt").string(), "--out", out.string()};
  const auto [code, output] = run_trainer(words);
  EXPECT_EQ(code, static_cast<int>(ExitCode::usage));
  EXPECT_TRUE(mentions(output, out.string() + " is there already")) << output;
  EXPECT_TRUE(mentions(output, "--force")) << output;
  EXPECT_EQ(fs::file_size(out), 4U);
  words.push_back("--force");
  EXPECT_EQ(run_trainer(words).code, 0);
  EXPECT_GT(fs::file_size(out), 1000U);
}

TEST_F(Import, WhatWasImportedDetectsAsTheOriginal) {
  const fs::path out = *folder_ / "detects.safetensors";
  ASSERT_EQ(run_trainer({"import", made("state_dict.pt").string(), "--out", out.string()}).code, 0);
  const LoadedDetector loaded = load_detector(out, std::nullopt);
  const at::NoGradGuard no_grad;
  const at::Tensor image = at::rand({1, 3, 64, 64});
  EXPECT_TRUE(at::equal(loaded.model->forward(image)[1], model_->forward(image)[1]));
}

TEST_F(Import, MaliciousFilesAreRefusedByNameAndTouchNothing) {
  const std::map<std::string, std::string> callables = {
      {"evil_top.pt", "posix.system"},
      {"evil_nested.pt", "posix.system"},
      {"evil_exec.pt", "__builtin__.exec"},
      {"evil_protocol4.pt", "builtins.eval"},
      {"evil_getattr.pt", "__builtin__.getattr"},
      {"evil_import.pt", "__builtin__.__import__"},
      {"evil_in_module.pt", "posix.system"},
      {"evil_pickle_in_pickle.pt", "torch.storage._load_from_bytes"},
      {"evil_global_reduce.pt", "posix.system"},
      {"evil_inst.pt", "os.system"},
      {"evil_obj.pt", "os.system"},
      {"evil_stack_global.pt", "os.system"},
      {"evil_reduce_of_reduce.pt", "builtins.getattr"},
  };
  const std::set<std::string> before = files_in(*folder_ / "made");
  size_t tried = 0;
  for (const std::string& name : before) {
    if (!name.starts_with("evil_")) continue;
    ++tried;
    const auto [code, output] = run_trainer({"import", made(name).string()});
    EXPECT_EQ(code, static_cast<int>(ExitCode::bad_config)) << name;
    ASSERT_TRUE(callables.contains(name)) << name;
    EXPECT_TRUE(mentions(output, "would call " + callables.at(name))) << name << ": " << output;
  }
  EXPECT_EQ(tried, callables.size());
  EXPECT_EQ(files_in(*folder_ / "made"), before);
  EXPECT_FALSE(fs::exists(*folder_ / "MARK"));
}

TEST_F(Import, LyingAndDamagedFilesAreErrorsThatWriteNothing) {
  const std::map<std::string, std::string> problems = {
      {"lie_count.pt", "is said to have"},
      {"lie_size.pt", "larger than its storage"},
      {"lie_overflow.pt", "larger than its storage"},
      {"lie_stride.pt", "larger than its storage"},
      {"lie_expand.pt", "larger than its storage"},
      {"lie_offset.pt", "beyond its storage"},
      {"lie_key.pt", "is missing"},
      {"lie_kind.pt", "no kind of storage"},
      {"lie_persistent.pt", "names no storage"},
      {"lie_compressed.pt", "is compressed"},
      {"lie_script.pt", "TorchScript"},
      {"lie_many.pt", "too many that show the same numbers"},
      {"lie_circle.pt", "in a circle"},
      {"lie_ways.pt", "entries, more than any network"},
      {"lie_name.pt", "a tensor's name has more than"},
      {"lie_truncated.pt", "it is cut off"},
      {"lie_checksum.pt", "damaged"},
      {"lie_nothing.pt", "it is empty"},
      {"lie_pickle_ends.pt", "ends too early"},
  };
  const std::set<std::string> before = files_in(*folder_ / "made");
  for (const auto& [name, problem] : problems) {
    ASSERT_TRUE(before.contains(name)) << name;
    const auto [code, output] = run_trainer({"import", made(name).string()});
    EXPECT_EQ(code, static_cast<int>(ExitCode::bad_config)) << name << ": " << output;
    EXPECT_TRUE(mentions(output, problem)) << name << ": " << output;
  }
  EXPECT_EQ(files_in(*folder_ / "made"), before);
}

TEST(ImportCommand, SaysWhatIsNoCheckpoint) {
  const TemporaryFolder folder;
  const auto expect_refusal = [&](const std::string& name, const std::string& content, const std::string& problem) {
    testing::write_file(folder / name, content);
    const auto [code, output] = run_trainer({"import", (folder / name).string()});
    EXPECT_EQ(code, static_cast<int>(ExitCode::bad_config)) << output;
    EXPECT_TRUE(mentions(output, problem)) << output;
  };
  expect_refusal("cut.pt", std::string("PK\x03\x04") + std::string(4000, 'x'), "it is cut off, as by a download");
  expect_refusal("empty.pt", "", "it is empty");
  expect_refusal("w.safetensors", "any", "these are weights already");
}

TEST(ImportCommand, NeverWritesOverTheCheckpointItself) {
  const TemporaryFolder folder;
  const fs::path file = folder / "sd.pt";
  testing::write_file(file, std::string("any"));
  const auto [code, output] = run_trainer({"import", file.string(), "--out", file.string(), "--force"});
  EXPECT_EQ(code, static_cast<int>(ExitCode::usage));
  EXPECT_TRUE(mentions(output, "--out would overwrite the checkpoint " + file.string())) << output;
}

TEST_F(Import, TheOldFormatIsToldApartWithAWayOut) {
  const auto [code, output] = run_trainer({"import", made("legacy.pt").string()});
  EXPECT_EQ(code, static_cast<int>(ExitCode::bad_config));
  EXPECT_TRUE(mentions(output, "PyTorch before 1.6"));
  EXPECT_TRUE(mentions(output, "torch.save(torch.load('legacy.pt'"));
}

TEST_F(Import, ATrainingStartsFromWhatWasImported) {
  const fs::path weights = *folder_ / "start.safetensors";
  ASSERT_EQ(run_trainer({"import", made("ema_half.pt").string(), "--out", weights.string()}).code, 0);
  const fs::path data = *folder_ / "data";
  for (const std::string split : {"train", "val"})
    for (int i = 0; i < 2; ++i) {
      const std::string stem = split + "/" + std::to_string(i);
      testing::write_file(data / ("images/" + stem + ".png"), encode_png(testing::scene(64, 64, {{0, .5F, .5F, .5F, .5F}})));
      testing::write_file(data / ("labels/" + stem + ".txt"), std::string("0 0.5 0.5 0.5 0.5\n"));
    }
  testing::write_file(data / "data.yaml", std::string("train: images/train\nval: images/val\nnames: [red, green, blue]\n"));
  const nlohmann::json config = {
      {"data", {{"kind", "yaml"}, {"path", (data / "data.yaml").string()}}},
      {"model", {{"arch", "yolov8n"}, {"weights", weights.string()}}},
      {"train", {{"epochs", 1}, {"batch", 2}, {"imgsz", 32}, {"workers", 1}, {"device", "cpu"}}},
      {"run", {{"dir", (*folder_ / "run").string()}}}};
  testing::write_file(*folder_ / "config.json", config.dump());
  testing::TrainerProcess trainer({"train", (*folder_ / "config.json").string()}, {{"OMP_NUM_THREADS", "1"}});
  EXPECT_EQ(trainer.wait(), 0);
  const auto told = trainer.events("model");
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0]["transferred"], named_state(*model_).size());
  const auto val = run_trainer({"val", (*folder_ / "run/weights/last.safetensors").string(), "data=" + (data / "data.yaml").string()});
  EXPECT_EQ(val.code, 0) << val.output;
}

}  // namespace
}  // namespace tenfold
