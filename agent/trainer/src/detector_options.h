// What the commands that run a detector have in common.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "command.h"
#include "device.h"
#include "weights_file.h"

namespace tenfold {

struct PictureSize {
  int width = 0;
  int height = 0;
};

/// "640", or "384x640": height, then width. Throws TrainerError(usage).
std::optional<PictureSize> picture_size(const CommandArguments& arguments, const std::string& option);

/// Where a command's result goes: option `out`, else `usual`. Throws TrainerError(usage) if that is there already,
/// unless option `force` is given.
std::filesystem::path output_file(const CommandArguments& arguments, const std::filesystem::path& usual);

/// Threads for tensor operations: OMP_NUM_THREADS, else one a core.
int usual_threads();

/// A detector that is ready to be run.
struct RunningDetector {
  LoadedDetector loaded;
  ComputeDevice device;
  int imgsz = 640;  ///< side of the network's input in pixels
};

/// The detector of the first operand, on the device of option `device`, in full precision; options `arch` and `imgsz` say
/// otherwise than the weights. Throws TrainerError.
RunningDetector open_detector(const CommandArguments& arguments);

}  // namespace tenfold
