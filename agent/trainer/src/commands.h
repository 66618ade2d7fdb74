// The commands of tenfold-trainer, each in a file of its own: command_<name>.cpp.
#pragma once

#include "command.h"

namespace tenfold {

Command train_command();
Command val_command();
Command predict_command();
Command export_command();
Command import_command();
Command inspect_command();
Command devices_command();

}  // namespace tenfold
