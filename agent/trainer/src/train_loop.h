#pragma once

#include "exit_code.h"
#include "failure.h"
#include "training.h"

namespace tenfold {

/// Trains from the cursor to the last epoch, or until patience or a stop command ends it. Returns how it ended; throws
/// what went wrong (see failure_of).
Ending run_training(Training& training);

}  // namespace tenfold
