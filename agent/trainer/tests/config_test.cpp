#include "config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data_fixtures.h"
#include "exit_code.h"
#include "resumed_arguments.h"

namespace tenfold {
namespace {

/// Every argument as JSON.
struct ArgumentsJson {
  void integer(const char* name, int64_t value, int64_t, int64_t) { json[name] = value; }
  void number(const char* name, double value, double, double) { json[name] = value; }
  void flag(const char* name, bool value) { json[name] = value; }
  void choice(const char* name, const std::string& value, std::initializer_list<const char*>, const char*,
              const char*) {
    json[name] = value;
  }
  void integer_or_auto(const char* name, const std::optional<int64_t>& value, int64_t, int64_t) {
    json[name] = value ? nlohmann::json(*value) : nlohmann::json("auto");
  }
  void number_or_auto(const char* name, const std::optional<double>& value, double, double) {
    json[name] = value ? nlohmann::json(*value) : nlohmann::json("auto");
  }
  void batch(const char* name, int64_t value, int64_t, int64_t) {
    json[name] = value == kAutoBatch ? nlohmann::json("auto") : nlohmann::json(value);
  }
  void device(const char* name, const std::string& value) { json[name] = value; }
  void layers(const char* name, const std::vector<std::string>& prefixes) { json[name] = prefixes; }

  nlohmann::json json = nlohmann::json::object();
};

TrainArguments arguments_of(const std::string& train) {
  return parse_config(R"({"data": {"kind": "yaml", "path": "a"}, "train": )" + train + "}", "job.json").train;
}

std::string problems_of(const std::string& json) {
  try {
    parse_config(json, "job.json");
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    return error.what();
  }
  return "no problem";
}

TEST(Config, ReadsTheContractsExample) {
  const Config config = load_config(std::string(TENFOLD_FIXTURES) + "/trainer-contract/config.json");
  EXPECT_EQ(config.run_name, "defects-s");
  EXPECT_EQ(std::get<ShardData>(config.data).index, "/var/cache/tenfold/shards/9b1c.json");
  EXPECT_EQ(config.arch, "yolov8n");
  EXPECT_FALSE(config.weights);
  EXPECT_FALSE(config.nc);
  EXPECT_EQ(config.train.batch, 16);
  EXPECT_EQ(config.checkpoint.every_epochs, 1);
  EXPECT_FALSE(config.checkpoint.every_steps);
  EXPECT_EQ(config.resume_dir, "/var/cache/tenfold/checkpoints/defects-s-7f3a/step-00000300");
  EXPECT_EQ(config.collective.generation, 4711);
  EXPECT_EQ(config.progress_interval_ms, 250);
}

TEST(Config, TakesGainsAsNumbersOrLeavesThemToTheFamily) {
  EXPECT_FALSE(arguments_of("{}").box);
  EXPECT_FALSE(arguments_of(R"({"box": "auto"})").box);
  EXPECT_EQ(arguments_of(R"({"box": 2})").box, 2);
  EXPECT_NE(problems_of(R"({"data": {"kind": "yaml", "path": "a"}, "train": {"obj": -1}})").find("train.obj: must be a number"),
            std::string::npos);
}

TEST(Config, ADataSetIsEnough) {
  const Config config = parse_config(R"({"data": {"kind": "yaml", "path": "cells.yaml"}})", "job.json");
  EXPECT_EQ(config.train.epochs, 100);
  EXPECT_EQ(config.train.imgsz, 640);
  EXPECT_EQ(config.train.lr0, 0.01);
  EXPECT_EQ(config.checkpoint.every_epochs, 1);
  EXPECT_EQ(config.checkpoint.dir, config.run_dir / "checkpoints");
}

TEST(Config, TellsEveryProblemWithItsPath) {
  const std::string message = problems_of(R"({
    "data": {"kind": "zip"}, "model": {"arch": 3, "nc": -1},
    "train": {"epochs": 0, "imgsz": 100, "lr0": "fast", "mosiac": 1, "batch": 2.5, "optimizer": "Lion"},
    "checkpoint": {"every": {"hours": 1}}, "resume": {}, "colective": {}})");
  for (const char* expected :
       {"job.json: 12 problems", "data.kind: must be \"shards\" or \"yaml\"", "model.arch: must be a text",
        "model.nc: must be a whole number", "train.epochs: must be a whole number, 1 to 100000, not 0",
        "train.imgsz: must be a multiple of 32", "96 is near 100", "train.lr0: must be a number, 0 to 10, not \"fast\"",
        "train.mosiac: unknown; did you mean `mosaic`?", "train.batch: must be a whole number",
        "train.optimizer: must be one of \"auto\", \"SGD\", \"AdamW\", \"Adam\", not \"Lion\"",
        "checkpoint.every.hours: unknown", "resume.dir: is required", "colective: unknown; did you mean `collective`?"}) {
    EXPECT_NE(message.find(expected), std::string::npos) << expected << "\nis not in\n" << message;
  }
}

TEST(Config, RefusesUnsupportedArgumentsByName) {
  for (const auto& [name, advice] : refused_arguments()) {
    const std::string message = problems_of(R"({"data": {"kind": "yaml", "path": "a"}, "train": {")" +
                                            std::string(name) + R"(": 1}})");
    EXPECT_NE(message.find("train." + std::string(name) + ": not an argument here: " + std::string(advice)),
              std::string::npos)
        << message;
  }
}

TEST(Config, TakesAndRefusesTheArgumentsOfTheContract) {
  std::ifstream in(std::string(TENFOLD_FIXTURES) + "/trainer-contract/train-arguments.json");
  const nlohmann::json contract = nlohmann::json::parse(in);
  nlohmann::json expected = contract.at("taken");
  expected.update(contract.at("trainer_alone"));
  ArgumentsJson own;
  const TrainArguments defaults;
  visit_arguments(own, defaults);
  EXPECT_EQ(own.json, expected);

  std::vector<std::string> refused;
  for (const auto& [name, advice] : refused_arguments()) refused.emplace_back(name);
  std::sort(refused.begin(), refused.end());
  auto expected_refusals = contract.at("refused").get<std::vector<std::string>>();
  std::sort(expected_refusals.begin(), expected_refusals.end());
  EXPECT_EQ(refused, expected_refusals);
}

TEST(Config, TakesTheSpellingsOfAmpAndCache) {
  EXPECT_EQ(arguments_of(R"({"amp": true, "cache": false})").amp, "auto");
  EXPECT_EQ(arguments_of(R"({"amp": true, "cache": false})").cache, "off");
  EXPECT_EQ(arguments_of(R"({"amp": false, "cache": true})").amp, "off");
  EXPECT_EQ(arguments_of(R"({"amp": false, "cache": true})").cache, "ram");
  EXPECT_EQ(arguments_of(R"({"workers": "auto"})").workers, std::nullopt);
  EXPECT_EQ(arguments_of(R"({"workers": 3, "epochs": 5.0})").workers, 3);
}

TEST(Config, TakesTheSpellingsOfAnAutomaticBatch) {
  EXPECT_EQ(arguments_of(R"({"batch": "auto"})").batch, kAutoBatch);
  EXPECT_EQ(arguments_of(R"({"batch": -1})").batch, kAutoBatch);
  EXPECT_EQ(arguments_of(R"({"batch": 7, "device_batch": 3})").device_batch, 3);
  EXPECT_NE(problems_of(R"({"data": {"kind": "yaml", "path": "a"}, "train": {"batch": 0}})").find("train.batch"),
            std::string::npos);
}

TEST(Config, TakesTheSpellingsOfDevices) {
  EXPECT_EQ(arguments_of(R"({"device": 1})").device, "cuda:1");
  EXPECT_EQ(arguments_of(R"({"device": "0"})").device, "cuda:0");
  EXPECT_EQ(arguments_of(R"({"device": "cuda:3"})").device, "cuda:3");
  EXPECT_EQ(arguments_of(R"({"device": "cpu"})").device, "cpu");
  for (const char* several : {R"("0,1")", "[0, 1]", R"("mps")", "-1", R"("cuda:")", "0.5"}) {
    EXPECT_NE(problems_of(R"({"data": {"kind": "yaml", "path": "a"}, "train": {"device": )" + std::string(several) +
                          "}}")
                  .find("train.device: must be auto, cpu, cuda, or the number of one CUDA device"),
              std::string::npos)
        << several;
  }
}

TEST(Config, FreezesTheFirstLayersOrTheNamedOnes) {
  EXPECT_EQ(arguments_of(R"({"freeze": 2})").freeze, (std::vector<std::string>{"model.0", "model.1"}));
  EXPECT_EQ(arguments_of(R"({"freeze": [4, "model.22.cv3"]})").freeze,
            (std::vector<std::string>{"model.4", "model.22.cv3"}));
  EXPECT_TRUE(arguments_of(R"({"freeze": 0})").freeze.empty());
  for (const char* wrong : {"-1", "true", R"("backbone")", "[1.5]", R"([""])", "5000"}) {
    EXPECT_NE(
        problems_of(R"({"data": {"kind": "yaml", "path": "a"}, "train": {"freeze": )" + std::string(wrong) + "}}")
            .find("train.freeze:"),
        std::string::npos)
        << wrong;
  }
}

TEST(Config, TakesTextsForTheObjectsThatUsersThinkOfAsOne) {
  const Config config =
      parse_config(R"({"data": "cells.yaml", "model": "yolov8s", "resume": "runs/step-00000040"})", "job.json");
  EXPECT_EQ(std::get<YamlData>(config.data).path, "cells.yaml");
  EXPECT_EQ(config.arch, "yolov8s");
  EXPECT_EQ(config.resume_dir, "runs/step-00000040");
  const std::string message = problems_of(R"({"data": 1, "model": ["yolov8n"], "train": "fast"})");
  for (const char* expected :
       {R"(data: must be an object such as {"kind": "yaml", "path": "data.yaml"}, or the path alone, not 1)",
        R"(model: must be an object such as {"arch": "yolov8n"}, or the name alone, not ["yolov8n"])",
        R"(train: must be an object such as {"epochs": 100, "imgsz": 640}, not "fast")"})
    EXPECT_NE(message.find(expected), std::string::npos) << expected << "\nis not in\n" << message;
  EXPECT_NE(problems_of("{}").find("data: is required: the path of a data.yaml"), std::string::npos);
}

Config config_of(const std::vector<Setting>& settings) { return load_config(std::nullopt, settings); }

std::string refusal_of(const std::vector<Setting>& settings, ExitCode code) {
  try {
    config_of(settings);
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  return "no problem";
}

TEST(Config, IsMadeOfTheWordsThatYoloUsersKnow) {
  const Config config =
      config_of({{"data", "cells.yaml"}, {"model", "yolov8s"}, {"weights", "best.safetensors"}, {"epochs", "3"},
                 {"imgsz", "320"}, {"lr0", ".02"}, {"cos_lr", "True"}, {"rect", "true"}, {"amp", "False"},
                 {"device", "0"}, {"optimizer", "AdamW"}, {"freeze", "[0,1,model.22.cv3]"}, {"batch", "-1"},
                 {"name", "42"}, {"checkpoint.every.steps", "500"}, {"resume", "runs/step-00000040"}, {"nc", "3"}});
  EXPECT_EQ(std::get<YamlData>(config.data).path, "cells.yaml");
  EXPECT_EQ(config.arch, "yolov8s");
  EXPECT_EQ(config.weights, "best.safetensors");
  EXPECT_EQ(config.nc, 3);
  EXPECT_EQ(config.train.epochs, 3);
  EXPECT_EQ(config.train.imgsz, 320);
  EXPECT_EQ(config.train.lr0, 0.02);
  EXPECT_TRUE(config.train.cos_lr);
  EXPECT_TRUE(config.train.rect);
  EXPECT_EQ(config.train.amp, "off");
  EXPECT_EQ(config.train.device, "cuda:0");
  EXPECT_EQ(config.train.optimizer, "AdamW");
  EXPECT_EQ(config.train.freeze, (std::vector<std::string>{"model.0", "model.1", "model.22.cv3"}));
  EXPECT_EQ(config.train.batch, kAutoBatch);
  EXPECT_EQ(config.run_name, "42") << "a name is a text, whatever it looks like";
  EXPECT_EQ(config.run_dir, "tenfold-run/42");
  EXPECT_EQ(config.checkpoint.every_steps, 500);
  EXPECT_EQ(config.resume_dir, "runs/step-00000040");
}

TEST(Config, ARunHasANewFolderAndOneThatGoesOnItsOwn) {
  const testing::TemporaryFolder folder;
  const testing::WorkingFolder here(folder.path());
  const auto run_dir = [](const std::string& resume) {
    std::vector<Setting> settings = {{"data", "cells.yaml"}};
    if (!resume.empty()) settings.push_back({"resume", resume});
    return config_of(settings).run_dir.string();
  };
  EXPECT_EQ(run_dir(""), "tenfold-run/train");
  std::filesystem::create_directories("tenfold-run/train");
  std::filesystem::create_directories("tenfold-run/train2");
  EXPECT_EQ(run_dir(""), "tenfold-run/train3");
  EXPECT_EQ(run_dir("runs/first/checkpoints/step-00000040"), "runs/first");
  EXPECT_EQ(run_dir("runs/first/checkpoints/step-00000040/"), "runs/first");
}

TEST(Config, ATrainingThatGoesOnHasTheArgumentsOfItsCheckpointWhereNoOthersAreGiven) {
  const testing::TemporaryFolder folder;
  const std::string step = (folder / "checkpoints/step-00000040").string();
  TrainArguments trained;
  trained.imgsz = 320, trained.epochs = 30, trained.lr0 = 0.003, trained.box = 1.0 / 3, trained.freeze = {"model.0"};
  trained.amp = "off", trained.device = "cuda:3", trained.workers = 7;
  nlohmann::json state = {{"arguments", nlohmann::json::object()}};
  for (const auto& [name, value] : argument_settings(trained)) state["arguments"][name] = value;
  testing::write_file(step + "/state.json", state.dump());
  const TrainArguments resumed = config_of({{"data", "cells.yaml"}, {"resume", step}, {"epochs", "50"}}).train;
  trained.epochs = 50;                                       // given
  trained.device = "auto", trained.workers = std::nullopt;  // the machine's
  EXPECT_EQ(arguments_yaml(resumed), arguments_yaml(trained));

  testing::write_file(step + "/state.json", std::string("{}"));
  EXPECT_EQ(config_of({{"data", "cells.yaml"}, {"resume", step}}).train.imgsz, 640) << "older checkpoints do not say";
}

TEST(Config, ATrainingGoesOnByTheNameOfItsCheckpointAlone) {
  const testing::TemporaryFolder folder;
  const testing::WorkingFolder here(folder.path());
  testing::write_file((folder / "tiny.yaml").string(), std::string("…"));
  const std::string step = (folder / "checkpoints/step-00000040").string();
  const Config trained = config_of({{"data", "cells.yaml"}, {"model", "tiny.yaml"}, {"nc", "3"}, {"epochs", "30"}});
  nlohmann::json state = {{"arguments", nlohmann::json::object()}};
  for (const auto& [name, value] : arguments_to_resume(trained, trained.train)) state["arguments"][name] = value;
  testing::write_file(step + "/state.json", state.dump());

  const Config resumed = config_of({{"resume", step}});
  EXPECT_EQ(std::get<YamlData>(resumed.data).path, std::filesystem::absolute("cells.yaml"));
  EXPECT_EQ(resumed.arch, std::filesystem::absolute("tiny.yaml"));
  EXPECT_EQ(resumed.nc, 3);
  EXPECT_EQ(resumed.train.epochs, 30);
  const Config elsewhere = config_of({{"resume", step}, {"data", "moved.yaml"}, {"model", "yolov8n"}});
  EXPECT_EQ(std::get<YamlData>(elsewhere.data).path, "moved.yaml");
  EXPECT_EQ(elsewhere.arch, "yolov8n");
}

TEST(Config, OfACheckpointThatIsNoneItIsSaidWhatIsWrong) {
  try {
    config_of({{"resume", "nowhere/step-00000040"}});
    ADD_FAILURE() << "accepted";
  } catch (const TrainerError& error) {
    EXPECT_NE(std::string(error.what()).find("nowhere/step-00000040"), std::string::npos) << error.what();
  }
}

TEST(Config, TakesEveryArgumentAsAWordWithTheDefaultThatHelpShows) {
  std::vector<Setting> settings = {{"data", "cells.yaml"}};
  for (const Setting& usual : argument_settings({})) settings.push_back(usual);
  EXPECT_EQ(settings.size(), 1 + argument_names().size());
  EXPECT_EQ(arguments_yaml(config_of(settings).train), arguments_yaml(TrainArguments{}));
}

TEST(Config, TheRunsFolderIsGivenAsOneOrAsProjectAndName) {
  const auto dir_of = [](std::vector<Setting> settings) {
    settings.push_back({"data", "cells.yaml"});
    return config_of(settings).run_dir;
  };
  EXPECT_EQ(dir_of({{"dir", "runs/a"}}), "runs/a");
  EXPECT_EQ(dir_of({{"project", "runs"}, {"name", "b"}}), "runs/b");
  EXPECT_EQ(dir_of({{"name", "b"}, {"project", "runs"}}), "runs/b");
  EXPECT_EQ(dir_of({{"project", "runs"}}), "runs/train");
  EXPECT_NE(refusal_of({{"dir", "a"}, {"project", "runs"}}, ExitCode::usage).find("run.dir is given twice"),
            std::string::npos);
}

TEST(Config, WordsAreHeldToTheRulesOfAConfig) {
  const std::string message = refusal_of(
      {{"data", "cells.yaml"}, {"epochs", "many"}, {"imgsz", "100"}, {"exist_ok", "True"}, {"train.mosiac", "1"},
       {"lr0", ""}},
      ExitCode::bad_config);
  for (const char* expected :
       {"the command line: 5 problems", "train.epochs: must be a whole number, 1 to 100000, not \"many\"",
        "train.imgsz: must be a multiple of 32", "train.exist_ok: not an argument here: a run never overwrites another",
        "train.mosiac: unknown; did you mean `mosaic`?", "train.lr0: must be a number, 0 to 10, not \"\""})
    EXPECT_NE(message.find(expected), std::string::npos) << expected << "\nis not in\n" << message;
  EXPECT_NE(refusal_of({{"epochs", "3"}}, ExitCode::bad_config).find("data=data.yaml"), std::string::npos);
  EXPECT_TRUE(testing::mentions(refusal_of({{"data", "a\xFF"}, {"amp", "\xFF"}}, ExitCode::bad_config), "train.amp"));
}

TEST(Config, WordsThatMeanNothingAreToldAtOnce) {
  const std::string message = refusal_of(
      {{"dat", "a"}, {"epoch", "3"}, {"imgsz", "64"}, {"train.imgsz", "96"}, {"resume", "True"}}, ExitCode::usage);
  for (const char* expected :
       {"there is no argument `dat`; did you mean `data`?", "there is no argument `epoch`; did you mean `epochs`?",
        "train.imgsz is given twice", "resume names the checkpoint", "Try `tenfold-trainer train --help`."})
    EXPECT_NE(message.find(expected), std::string::npos) << expected << "\nis not in\n" << message;
}

TEST(Config, WordsOverrideTheFile) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "job.json", std::string(R"({
    "data": {"kind": "shards", "index": "i", "dir": "d"}, "model": "yolov8n", "resume": {"dir": "step-00000001"},
    "train": {"epochs": 7, "imgsz": 320}, "run": {"name": "first"}})"));
  const Config config = load_config(folder / "job.json", {{"data", "cells.yaml"}, {"weights", "w.safetensors"},
                                                          {"epochs", "9"}, {"resume", "null"}, {"project", "runs"}});
  EXPECT_EQ(std::get<YamlData>(config.data).path, "cells.yaml");
  EXPECT_EQ(config.arch, "yolov8n");
  EXPECT_EQ(config.weights, "w.safetensors");
  EXPECT_EQ(config.train.epochs, 9);
  EXPECT_EQ(config.train.imgsz, 320);
  EXPECT_FALSE(config.resume_dir);
  EXPECT_EQ(config.run_dir, "runs/first");
  testing::write_file(folder / "job.json", std::string(R"({"data": "a.yaml", "train": 3})"));
  try {
    load_config(folder / "job.json", {{"epochs", "9"}});
    ADD_FAILURE() << "a word hid what is wrong in the file";
  } catch (const TrainerError& error) {
    EXPECT_TRUE(testing::mentions(error.what(), "job.json and the command line: 1 problem\n  train: must be an object"))
        << error.what();
  }
}

TEST(Config, SaysWhereAFileStopsBeingJson) {
  EXPECT_EQ(problems_of("{\"data\": "),
            "job.json: not JSON: line 1, column 10: unexpected end of input; expected '[', '{', or a literal");
  EXPECT_EQ(problems_of("{\n  \"data\": \"a.yaml\",\n}\n"),
            "job.json: not JSON: line 3, column 1: unexpected '}'; expected string literal; the comma before it is one too "
            "many");
  EXPECT_EQ(problems_of("\n"), "job.json: not JSON: it is empty");
  EXPECT_EQ(problems_of("{\"train\": {\"lr0\": 1e999}}").find("json.exception"), std::string::npos);
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "data.yaml", std::string("train: images\n"));
  for (const auto& [file, expected] :
       {std::pair(folder.path(), "is a folder"), std::pair(folder / "data.yaml", "given as data=")})
    try {
      load_config(file);
      ADD_FAILURE() << file << " was read";
    } catch (const TrainerError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_config);
      EXPECT_TRUE(testing::mentions(error.what(), expected)) << error.what();
    }
}

TEST(Config, SaysWhenAFileIsNoConfigOrMissing) {
  EXPECT_NE(problems_of("[]").find("must be an object"), std::string::npos);
  EXPECT_THROW(load_config("/nonexistent/job.json"), TrainerError);
}

}  // namespace
}  // namespace tenfold
