#pragma once

#include <filesystem>

#include "exit_code.h"

namespace tenfold {

/// `tenfold-trainer train CONFIG`: trains, tells how it went, and ends the process without unwinding: a lost peer would
/// keep the destructors of Gloo and NCCL waiting.
[[noreturn]] void train_and_exit(const std::filesystem::path& config);

}  // namespace tenfold
