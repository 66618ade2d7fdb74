#pragma once

#include <string>
#include <vector>

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

}  // namespace tenfold::testing
