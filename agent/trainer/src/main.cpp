#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "command_train.h"
#include "device.h"
#include "exit_code.h"
#include "failure.h"
#include "inspect.h"
#include "model_spec.h"

namespace {

using tenfold::ExitCode;

constexpr const char* kHelp = R"(tenfold-trainer: trains YOLO detectors on one device or, together with others of its kind, on many.

usage:
  tenfold-trainer train CONFIG.json             train as the config says
  tenfold-trainer inspect MODEL [--nc N] [--imgsz N]
                                                layers, shapes, parameters and GFLOPs of a model:
                                                a built-in name (yolov5n, yolov8n, yolov10n, ...) or a model yaml
  tenfold-trainer --version | --help

A config needs no more than a data set (a YOLO data.yaml); everything else has the default that YOLO users know:
  {
    "data":  {"kind": "yaml", "path": "data.yaml"},
    "model": {"arch": "yolov8n"},
    "train": {"epochs": 100, "batch": 16, "imgsz": 640},
    "run":   {"dir": "runs/first"}
  }
`train` takes the usual arguments (lr0, momentum, mosaic, ...); unknown and unsupported ones are refused by name.
Results are in run.dir: results.csv, weights/best.safetensors, pictures of predictions in val_pred/.
Ctrl-C writes a checkpoint and ends; go on with  "resume": {"dir": "runs/first/checkpoints/step-..."}.

Several ranks: start one process each with the environment that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT). `batch` is that of all ranks together.
  OMP_NUM_THREADS       threads of tensor operations
  TENFOLD_EVENTS_FD     write events there, as NDJSON, instead of progress on stdout
  TENFOLD_CONTROL_FD    read commands from there; its end of file ends the process

exit codes:
)";

void print_help() {
  std::fputs(kHelp, stdout);
  for (const auto& entry : tenfold::exit_code_table()) {
    std::printf("  %3d  %-19s%s\n", static_cast<int>(entry.code), std::string(entry.name).c_str(),
                std::string(entry.text).c_str());
  }
}

int usage_error(const std::string& problem) {
  std::fprintf(stderr, "tenfold-trainer: %s\nTry `tenfold-trainer --help`.\n", problem.c_str());
  return static_cast<int>(ExitCode::usage);
}

/// Value of `--name N` in the arguments, taken out of them.
int take_number(std::vector<std::string>& args, const std::string& name, int otherwise) {
  for (size_t i = 0; i + 1 < args.size(); ++i) {
    if (args[i] != name) continue;
    char* end = nullptr;
    const long value = std::strtol(args[i + 1].c_str(), &end, 10);
    if (*end != '\0' || value < 1 || value > 100'000) {
      throw tenfold::TrainerError(ExitCode::usage, name + " needs a whole number from 1 up, not " + args[i + 1]);
    }
    args.erase(args.begin() + static_cast<long>(i), args.begin() + static_cast<long>(i) + 2);
    return static_cast<int>(value);
  }
  return otherwise;
}

int inspect(std::vector<std::string> args) {
  const int nc = take_number(args, "--nc", 80);
  const int imgsz = take_number(args, "--imgsz", 640);
  if (args.size() != 1) return usage_error("inspect takes one model");
  tenfold::set_up_cpu(1);
  const tenfold::ModelReport report = tenfold::inspect_model(tenfold::load_model_spec(args[0]), nc, imgsz);
  std::fputs(tenfold::render_report(report).c_str(), stdout);
  return 0;
}

int run(const std::string& command, const std::vector<std::string>& args) {
  if (command == "--version") {
    std::printf("tenfold-trainer %s (LibTorch %s)\n", TENFOLD_VERSION, TENFOLD_TORCH_VERSION);
    return 0;
  }
  if (command == "--help" || command == "-h" || command == "help") {
    print_help();
    return 0;
  }
  if (command == "inspect") return inspect(args);
  if (command == "train") {
    if (args.size() != 1) return usage_error("train takes one config file");
    tenfold::train_and_exit(args[0]);
  }
  return usage_error("unknown command `" + command + "`");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return usage_error("no command");
  try {
    const int code = run(argv[1], std::vector<std::string>(argv + 2, argv + argc));
    std::fflush(nullptr);
    return code;
  } catch (...) {
    const tenfold::Ending ending = tenfold::failure_of(std::current_exception());
    std::fprintf(stderr, "tenfold-trainer: %s\n", ending.message.c_str());
    return static_cast<int>(ending.code);
  }
}
