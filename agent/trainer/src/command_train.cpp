#include <csignal>
#include <cstdio>

#include <unistd.h>

#include "commands.h"
#include "config.h"
#include "console.h"
#include "control.h"
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
[[noreturn]] void train_and_exit(const std::filesystem::path& file) {
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
    config = load_config(file);
  } catch (const TrainerError& error) {
    exit_with(*events, {error.code(), error.what()});
  }
  Training training(std::move(*config), env, *events, control->requests());
  training.on_stall = [&](const std::string& verdict) { exit_stalled(training, verdict); };
  exit_with(*events, train(training));
}

constexpr const char* kTrainText = R"(A config needs no more than a data set (a YOLO data.yaml); everything else has the default that YOLO users know:
  {
    "data":  {"kind": "yaml", "path": "data.yaml"},
    "model": {"arch": "yolov8n"},
    "train": {"epochs": 100, "batch": 16, "imgsz": 640},
    "run":   {"dir": "runs/first"}
  }
`train` takes the usual arguments (lr0, momentum, mosaic, ...); unknown and unsupported ones are refused by name.
`model.weights` names weights to start from: those of another run, or of a published checkpoint after `import`. Tensors
that fit by name and shape are taken; weights that fit none of the model's convolutions are refused.
Results are in run.dir: results.csv, weights/best.safetensors, pictures of predictions in val_pred/.
Ctrl-C writes a checkpoint and ends; go on with  "resume": {"dir": "runs/first/checkpoints/step-..."}.
Of its own checkpoints a process keeps the last three; those that it finds in the folder stay.

Several ranks: start one process each with the environment that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT). `batch` is that of all ranks together.
  OMP_NUM_THREADS       threads of tensor operations
  TENFOLD_EVENTS_FD     write events there, as NDJSON, instead of progress on stdout
  TENFOLD_CONTROL_FD    read commands from there; its end of file ends the process)";

}  // namespace

Command train_command() {
  return {.name = "train",
          .operands = "CONFIG.json",
          .summary = "train as the config says",
          .text = kTrainText,
          .options = {},
          .examples = {"train config.json"},
          .run = [](const CommandArguments& arguments) -> int { train_and_exit(arguments.operands().front()); }};
}

}  // namespace tenfold
