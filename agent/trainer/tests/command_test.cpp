// The words of a command line.
#include <gtest/gtest.h>

#include "command.h"
#include "data_fixtures.h"
#include "exit_code.h"
#include "trainer_command.h"

namespace tenfold {
namespace {

using testing::mentions;
using testing::run_trainer;
using testing::run_trainer_on_full_disk;

const Command& sample() {
  static const Command command{.name = "look",
                               .operands = "FILE",
                               .summary = "looks",
                               .text = "Looks at a file.",
                               .options = {{"max-det", "N", "most"}, {"conf", "X", "least"}, {"json", "", "as JSON"}},
                               .refused = {{"line-width", "lines have one width"}},
                               .examples = {"look a.jpg"},
                               .run = {}};
  return command;
}

std::string problem_of(const std::vector<std::string>& words, const std::function<void(const CommandArguments&)>& use = {}) {
  try {
    const CommandArguments arguments(sample(), words);
    if (use) use(arguments);
  } catch (const TrainerError& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "";
}

TEST(CommandArguments, TakesOptionsInAllThreeWays) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"a.jpg", "--max-det", "7", "--conf=0.5", "--json"},
           {"max_det=7", "conf=0.5", "a.jpg", "--json"},
           {"--max_det=7", "a.jpg", "--conf", "0.5", "json=true"}}) {
    const CommandArguments arguments(sample(), words);
    EXPECT_EQ(arguments.operands(), std::vector<std::string>{"a.jpg"});
    EXPECT_EQ(arguments.integer("max-det", 1, 300), 7);
    EXPECT_EQ(arguments.number("conf", 0, 1), 0.5);
    EXPECT_TRUE(arguments.flag("json"));
  }
}

TEST(CommandArguments, WhatWasNotGivenIsAbsent) {
  const CommandArguments arguments(sample(), {"a.jpg"});
  EXPECT_EQ(arguments.integer("max-det", 1, 300), std::nullopt);
  EXPECT_EQ(arguments.text("conf"), std::nullopt);
  EXPECT_FALSE(arguments.flag("json"));
}

TEST(CommandArguments, PathsMayHaveEqualsSignsAndDashes) {
  EXPECT_EQ(CommandArguments(sample(), {"runs/lr=0.1/a.jpg"}).operands().front(), "runs/lr=0.1/a.jpg");
  EXPECT_EQ(CommandArguments(sample(), {"--", "--odd.jpg"}).operands().front(), "--odd.jpg");
}

TEST(CommandArguments, SettingsAreLeftToACommandThatTakesThem) {
  Command command = sample();
  command.takes_settings = true;
  const CommandArguments arguments(
      command, {"a.jpg", "epochs=3", "--cos-lr=true", "--lr0", "0.1", "run.dir=runs/x=1", "conf=0.5", "data="});
  EXPECT_EQ(arguments.operands(), std::vector<std::string>{"a.jpg"});
  EXPECT_EQ(arguments.number("conf", 0, 1), 0.5) << "an option stays one";
  std::vector<std::string> given;
  for (const Setting& setting : arguments.settings()) given.push_back(setting.key + "=" + setting.value);
  EXPECT_EQ(given, (std::vector<std::string>{"epochs=3", "cos_lr=true", "lr0=0.1", "run.dir=runs/x=1", "data="}));
  EXPECT_THROW(CommandArguments(command, {"a.jpg", "--epochs"}), TrainerError);
  EXPECT_EQ(CommandArguments(command, {"./lr=0.1.jpg"}).operands().front(), "./lr=0.1.jpg");
}

TEST(CommandArguments, ErrorsTeach) {
  EXPECT_TRUE(mentions(problem_of({"a.jpg", "max_dett=7"}), "did you mean `max-det`?"));
  EXPECT_TRUE(mentions(problem_of({"a.jpg", "--cnf", "1"}), "did you mean `conf`?"));
  EXPECT_TRUE(mentions(problem_of({"a.jpg", "--conf"}), "--conf needs a value: --conf X"));
  EXPECT_TRUE(mentions(problem_of({"a.jpg", "conf=1", "--conf", "2"}), "given twice"));
  EXPECT_TRUE(mentions(problem_of({}), "look needs FILE"));
  EXPECT_TRUE(mentions(problem_of({"a", "b"}), "does not take `b`"));
  EXPECT_TRUE(mentions(problem_of({"a", "-v"}), "no option `-v`"));
  EXPECT_TRUE(mentions(problem_of({"a", "json=7"}), "is a switch"));
  EXPECT_TRUE(mentions(problem_of({"a"}, [](const auto& a) { a.required("conf"); }), "look needs --conf X"));
  EXPECT_TRUE(mentions(problem_of({"a", "conf=2"}, [](const auto& a) { a.number("conf", 0, 1); }), "0 to 1, not 2"));
  EXPECT_TRUE(mentions(problem_of({"a", "conf=x"}, [](const auto& a) { a.number("conf", 0, 1); }), "not x"));
  EXPECT_TRUE(mentions(problem_of({"a", "max-det=1.5"}, [](const auto& a) { a.integer("max-det", 1, 9); }), "whole"));
  EXPECT_TRUE(mentions(problem_of({"a", "conf=nan"}, [](const auto& a) { a.number("conf", 0, 1); }), "not nan"));
  EXPECT_TRUE(mentions(problem_of({"a", "--nope"}), "Try `tenfold-trainer look --help`."));
}

TEST(CommandArguments, WordsOfOtherToolsAreExplained) {
  for (const std::string given : {"line_width=2", "--line-width=2"})
    EXPECT_TRUE(mentions(problem_of({"a", given}), "`: lines have one width\n")) << given;
  for (const std::string given : {"model=a.jpg", "--weights=a.jpg"})
    EXPECT_TRUE(mentions(problem_of({given}), "`: FILE is the first word, as in `tenfold-trainer look a.jpg`"))
        << given;
}

TEST(CommandLine, WordsThatYoloUsersTypeAreExplainedByEachCommand) {
  const auto told = [](const std::string& command, const std::string& word) {
    const auto [code, output] = run_trainer({command, "w.safetensors", word});
    EXPECT_EQ(code, static_cast<int>(ExitCode::usage));
    EXPECT_FALSE(mentions(output, "did you mean")) << output;
    return output;
  };
  for (const char* word : {"classes=0", "save=True", "line_width=2", "half=True", "plots=True", "verbose=False"})
    for (const char* command : {"val", "predict"})
      EXPECT_TRUE(mentions(told(command, word), "`: ")) << command << " " << word;
  for (const char* word : {"half=True", "dynamic=True", "simplify=True"})
    EXPECT_TRUE(mentions(told("export", word), "`: ")) << word;
  EXPECT_TRUE(mentions(run_trainer({"val", "model=best.safetensors"}).output, "WEIGHTS.safetensors is the first word"));
}

TEST(CommandLine, EveryCommandHasHelpWithExamples) {
  for (const std::string command : {"train", "val", "predict", "export", "import", "inspect", "devices"}) {
    const auto [code, output] = run_trainer({command, "--help"});
    EXPECT_EQ(code, 0);
    EXPECT_TRUE(mentions(output, "usage: tenfold-trainer " + command + " "));
    EXPECT_TRUE(mentions(output, "examples:\n  tenfold-trainer " + command));
  }
}

TEST(CommandLine, HelpOfTrainListsEveryArgumentWithItsDefault) {
  const std::string output = run_trainer({"train", "--help"}).output;
  for (const char* word : {" epochs=100 ", "imgsz=640", "cos_lr=false", "grad_compression=off", "mosaic=1", "val=true"})
    EXPECT_TRUE(mentions(output, word)) << word << " is not in\n" << output;
}

TEST(CommandLine, TheYamlOfABuiltInModelExplainsItself) {
  const auto [code, output] = run_trainer({"inspect", "yolov8s", "--yaml"});
  EXPECT_EQ(code, 0);
  EXPECT_TRUE(mentions(output, "# How to read a model yaml")) << output;
  EXPECT_TRUE(mentions(output, "\nlayers:\n")) << output;
}

TEST(CommandLine, OutputThatIsLostIsAnError) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"inspect", "yolov8n", "--yaml"}, {"devices", "--json"}, {"--version"}, {"train", "--help"}}) {
    const auto [code, output] = run_trainer_on_full_disk(words);
    EXPECT_EQ(code, static_cast<int>(ExitCode::io_error)) << words[0];
    EXPECT_TRUE(mentions(output, "tenfold-trainer: writing the output")) << output;
  }
  EXPECT_EQ(run_trainer_on_full_disk({"exprot"}).code, static_cast<int>(ExitCode::usage)) << "nothing is lost";
}

TEST(CommandLine, UnknownCommandsAndMissingOperandsAreUsageErrors) {
  const auto unknown = run_trainer({"exprot"});
  EXPECT_EQ(unknown.code, static_cast<int>(ExitCode::usage));
  EXPECT_TRUE(mentions(unknown.output, "did you mean `export`?"));
  EXPECT_EQ(run_trainer({"val"}).code, static_cast<int>(ExitCode::usage));
  EXPECT_EQ(run_trainer({}).code, static_cast<int>(ExitCode::usage));
  const auto all = run_trainer({"--help"});
  EXPECT_EQ(all.code, 0);
  for (const char* command : {"train [CONFIG.json] [key=value ...]", "import FILE.pt", "predict WEIGHTS.safetensors"})
    EXPECT_TRUE(mentions(all.output, command));
}

}  // namespace
}  // namespace tenfold
