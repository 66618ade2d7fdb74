#include <csignal>
#include <cstdio>
#include <utility>

#include <unistd.h>

#include "commands.h"
#include "config.h"
#include "console.h"
#include "control.h"
#include "failure.h"
#include "run_folder.h"
#include "train_arguments.h"
#include "train_loop.h"

namespace tenfold {
namespace {

/// A checkpoint that is nearly on disk when a peer dies is worth more than a fast end.
constexpr auto kLastWriteLimit = std::chrono::seconds(10);

std::unique_ptr<EventSink> make_sink(const RankEnvironment& env) {
  if (env.events_fd) return ndjson_sink(*env.events_fd);
  if (env.rank == 0) return console_sink(stdout, ::isatty(STDOUT_FILENO) == 1);
  return quiet_sink(env.rank);
}

std::unique_ptr<Control> make_control(const RankEnvironment& env) {
  return env.control_fd ? control_from_fd(*env.control_fd) : control_from_signals();
}

[[noreturn]] void exit_with(EventSink& events, const Ending& ending) {
  events.emit(EndEvent{ending.code, ending.message});
  events.flush();
  std::fflush(nullptr);
  ::_exit(static_cast<int>(ending.code));
}

Ending train(Training& training) {
  try {
    prepare(training);
    Ending ending = run_training(training);
    training.writer->wait();
    return ending;
  } catch (...) {
    const Ending ending = failure_of(std::current_exception());
    if (training.writer) training.writer->wait_quietly(kLastWriteLimit);
    return ending;
  }
}

/// Called from the watch's thread: that of the training hangs in a collective.
[[noreturn]] void exit_stalled(Training& training, const std::string& verdict) {
  if (training.writer) training.writer->wait_quietly(kLastWriteLimit);
  exit_with(training.events, {ExitCode::collective_timeout, verdict});
}

/// Trains, tells how it went, and ends the process without unwinding: a lost peer would keep the destructors of Gloo and
/// NCCL waiting.
[[noreturn]] void train_and_exit(const std::optional<std::filesystem::path>& file,
                                 const std::vector<Setting>& settings) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader of events that went away is told by the control descriptor
  RankEnvironment env;
  try {
    env = read_rank_environment();
  } catch (const TrainerError& error) {
    exit_with(*quiet_sink(0), {error.code(), error.what()});
  }
  const std::unique_ptr<EventSink> events = make_sink(env);
  const std::unique_ptr<Control> control = make_control(env);
  std::optional<Config> config;
  try {
    config = load_config(file, settings);
    check_folders(*config, /*trusting=*/env.events_fd.has_value());
    if (env.rank == 0) claim_run_folder(*config);
  } catch (...) {
    exit_with(*events, failure_of(std::current_exception()));
  }
  if (!env.events_fd && env.rank == 0) std::printf("results in %s\n", config->run_dir.c_str());
  Training training(std::move(*config), env, *events, control->requests());
  training.on_stall = [&](const std::string& verdict) { exit_stalled(training, verdict); };
  const Ending ending = train(training);
  if (env.rank == 0) give_back_run_folder(training.config);
  exit_with(*events, ending);
}

constexpr const char* kTrainText =
    R"(Trains a detector. What to train is said by words `key=value`, as YOLO users know them, by a config file, or by both:
words that follow a file override it. No more is needed than a data set.
  data=data.yaml        the data set: a YOLO data.yaml, or the folder that holds it
  model=yolov8n         the network: a built-in name or a model yaml (yolov8n)
  weights=FILE          safetensors to start from: of another run, or of a published checkpoint after `import`. Tensors
                        that fit by name and shape are taken; a file that fits none of the model's convolutions is refused
  dir=FOLDER            the run's folder (tenfold-run/NAME, or the first of NAME2, NAME3, ... that is not there yet; a
                        run that goes on stays in its own); project=FOLDER stands for dir=FOLDER/NAME
  name=NAME             what the run is called (train)
  resume=FOLDER         a checkpoint to go on from: resume=runs/first/checkpoints/step-..., with that training's data set,
                        network and arguments where no others are given
The training arguments, with their defaults; unknown and unsupported ones are refused by name:
)";

constexpr const char* kConfigText = R"(
A config file says the same as JSON. Every field of it can be a word, too: checkpoint.every.steps=500.
  {
    "data":   "data.yaml",
    "model":  {"arch": "yolov8n", "weights": null},
    "train":  {"epochs": 100, "batch": 16, "imgsz": 640},
    "run":    {"name": "first", "dir": "runs/first"},
    "checkpoint": {"every": {"epochs": 1}},
    "resume": null
  }
Results are in run.dir: results.csv, weights/best.safetensors, pictures of predictions in val_pred/. Ctrl-C writes a
checkpoint and ends. Of its own checkpoints a process keeps the last three; those that it finds in the folder stay.

Several ranks: start one process each with the environment that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT). `batch` is that of all ranks together.
  OMP_NUM_THREADS       threads of tensor operations
  TENFOLD_EVENTS_FD     write events there, as NDJSON, instead of progress on stdout
  TENFOLD_CONTROL_FD    read commands from there; its end of file ends the process)";

/// `name=value` of all arguments, in lines of the help's width.
std::string usual_arguments() {
  constexpr size_t kColumns = 118;
  std::string text, line;
  for (const auto& [name, value] : argument_settings({})) {
    const std::string word = name + "=" + value;
    if (line.size() + word.size() + 2 > kColumns) text += std::exchange(line, "") + "\n";
    line += (line.empty() ? "  " : " ") + word;
  }
  return text + line + "\n";
}

int train_as_asked(const CommandArguments& arguments) {
  if (arguments.operands().empty() && arguments.settings().empty())
    arguments.fail("", "needs a config file, or words such as data=data.yaml model=yolov8n");
  std::optional<std::filesystem::path> file;
  if (!arguments.operands().empty()) file = arguments.operands().front();
  train_and_exit(file, arguments.settings());
}

}  // namespace

Command train_command() {
  return {.name = "train",
          .operands = "[CONFIG.json] [key=value ...]",
          .summary = "train a detector",
          .text = kTrainText + usual_arguments() + kConfigText,
          .options = {},
          .examples = {"train data=data.yaml model=yolov8n epochs=100 imgsz=640 dir=runs/first", "train config.json",
                       "train config.json epochs=300 lr0=0.005"},
          .min_operands = 0,
          .takes_settings = true,
          .run = train_as_asked};
}

}  // namespace tenfold
