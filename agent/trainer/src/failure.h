#pragma once

#include <exception>
#include <string>

#include "exit_code.h"

namespace tenfold {

/// How a process ends: what `end` events and the process' exit status say.
struct Ending {
  ExitCode code = ExitCode::internal;
  std::string message;
};

/// Any exception as an exit code and a message for people (LibTorch's C++ stack traces are cut off).
Ending failure_of(const std::exception_ptr& error);

}  // namespace tenfold
