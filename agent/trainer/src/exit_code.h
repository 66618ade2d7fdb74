#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tenfold {

/// How a trainer process ends. The table is shared with the agent: test/fixtures/trainer-contract/exit-codes.json.
enum class ExitCode : int {
  completed = 0,
  usage = 2,
  bad_config = 10,
  bad_data = 11,
  bad_checkpoint = 12,
  out_of_memory = 13,
  diverged = 14,
  peer_lost = 20,
  rendezvous_failed = 21,
  collective_timeout = 22,
  stopped = 23,
  orphaned = 24,
  io_error = 25,
  device_error = 26,
  internal = 70,
};

struct ExitCodeEntry {
  ExitCode code;
  std::string_view name;
  std::string_view fault;  // who has to act: none, user, data, infra
  bool retry;              // whether a new attempt makes sense
  std::string_view text;
};

/// The whole table, by code.
std::span<const ExitCodeEntry> exit_code_table();

std::string_view name_of(ExitCode code);

/// A failure whose exit code is known where it is thrown. The message says what happened and what to do.
class TrainerError : public std::runtime_error {
 public:
  TrainerError(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

}  // namespace tenfold
