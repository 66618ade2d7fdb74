#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data_fixtures.h"
#include "trainer_process.h"

namespace tenfold::testing {

struct CommandResult {
  int code = 0;
  std::string output;  ///< stdout and stderr
};

/// Runs `tenfold-trainer` with these words to its end.
inline CommandResult run_trainer(const std::vector<std::string>& words) {
  TrainerProcess process(words, {{"OMP_NUM_THREADS", "1"}});
  const int code = process.wait();
  return {code, process.output()};
}

/// The same with /dev/full as stdout, as on a disk that is full; `output` is what it wrote to stderr.
inline CommandResult run_trainer_on_full_disk(const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  const std::string errors = folder / "stderr";
  std::vector<std::string> kept = {TENFOLD_TRAINER};
  kept.insert(kept.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : kept) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("no process");
  if (pid == 0) {
    const int full = ::open("/dev/full", O_WRONLY), written = ::open(errors.c_str(), O_WRONLY | O_CREAT, 0644);
    if (full < 0 || written < 0) ::_exit(126);
    ::dup2(full, STDOUT_FILENO);
    ::dup2(written, STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  const auto content = read_file(errors);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), {content.begin(), content.end()}};
}

}  // namespace tenfold::testing
