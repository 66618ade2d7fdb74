#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include "commands.h"
#include "exit_code.h"
#include "failure.h"

namespace {

using tenfold::Command;
using tenfold::ExitCode;

void print_help(std::span<const Command> commands) {
  std::puts("tenfold-trainer: trains YOLO detectors on one device or, together with others of its kind, on many.\n\nusage:");
  for (const Command& command : commands)
    std::printf("  tenfold-trainer %-35s %s\n", (command.name + " " + command.operands).c_str(),
                command.summary.c_str());
  std::puts("  tenfold-trainer COMMAND --help                      options and examples of a command\n"
            "  tenfold-trainer --version | --help\n\nexit codes:");
  for (const auto& entry : tenfold::exit_code_table()) {
    std::printf("  %3d  %-19s%s\n", static_cast<int>(entry.code), std::string(entry.name).c_str(),
                std::string(entry.text).c_str());
  }
}

int run(const std::string& command, const std::vector<std::string>& words) {
  const std::array commands = {tenfold::train_command(),  tenfold::val_command(),    tenfold::predict_command(),
                               tenfold::export_command(), tenfold::import_command(), tenfold::inspect_command(),
                               tenfold::devices_command()};
  if (command == "--version") {
    std::printf("tenfold-trainer %s (LibTorch %s)\n", TENFOLD_VERSION, TENFOLD_TORCH_VERSION);
    return 0;
  }
  if (command == "--help" || command == "-h" || command == "help") {
    print_help(commands);
    return 0;
  }
  return tenfold::run_command(commands, command, words);
}

/// Throws what ends the process as io_error if something that was printed is lost. A full disk is mostly met only here:
/// what is printed to a file is written in blocks.
void finish_output() {
  if (std::fflush(stdout) != 0) throw std::system_error(errno, std::generic_category(), "writing the output");
  // Of an earlier write it is only known that it failed.
  if (std::ferror(stdout) != 0) throw tenfold::TrainerError(ExitCode::io_error, "writing the output failed: a part is lost");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("tenfold-trainer: no command\nTry `tenfold-trainer --help`.\n", stderr);
    return static_cast<int>(ExitCode::usage);
  }
  try {
    const int code = run(argv[1], std::vector<std::string>(argv + 2, argv + argc));
    finish_output();
    return code;
  } catch (...) {
    const tenfold::Ending ending = tenfold::failure_of(std::current_exception());
    std::fprintf(stderr, "tenfold-trainer: %s\n", ending.message.c_str());
    return static_cast<int>(ending.code);
  }
}
