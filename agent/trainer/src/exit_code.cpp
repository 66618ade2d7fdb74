#include "exit_code.h"

#include <array>

namespace tenfold {
namespace {

using enum ExitCode;

constexpr std::array<ExitCodeEntry, 15> kTable{{
    {completed, "completed", "none", false, "trained all epochs, or stopped early by patience"},
    {usage, "usage", "user", false, "unknown command or argument"},
    {bad_config, "bad_config", "user", false, "the config file is missing, malformed, or has values out of range"},
    {bad_data, "bad_data", "data", false, "the data set cannot be trained on"},
    {bad_checkpoint, "bad_checkpoint", "infra", true,
     "the checkpoint to resume from does not verify; a job goes on from an older one"},
    {out_of_memory, "out_of_memory", "user", false, "the batch does not fit the device"},
    {diverged, "diverged", "user", false, "the loss became NaN or infinite"},
    {peer_lost, "peer_lost", "infra", true, "another rank went away in the middle of a collective"},
    {rendezvous_failed, "rendezvous_failed", "infra", true, "the ranks did not meet in time"},
    {collective_timeout, "collective_timeout", "infra", true, "a collective did not finish within the limit"},
    {stopped, "stopped", "none", false, "ended by a stop command at a step boundary"},
    {orphaned, "orphaned", "infra", true, "the agent went away"},
    {io_error, "io_error", "infra", true, "a file could not be read or written (disk full, permission)"},
    {device_error, "device_error", "infra", true, "the GPU or its driver failed"},
    {internal, "internal", "infra", true, "a bug: an exception that nobody expected"},
}};

}  // namespace

std::span<const ExitCodeEntry> exit_code_table() { return kTable; }

std::string_view name_of(ExitCode code) {
  for (const ExitCodeEntry& entry : kTable) {
    if (entry.code == code) return entry.name;
  }
  return "internal";
}

}  // namespace tenfold
