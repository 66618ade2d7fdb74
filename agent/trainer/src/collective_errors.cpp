#include "collective_errors.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "failure.h"

namespace tenfold {
namespace {

bool mentions(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) { return text.find(word) != text.npos; });
}

}  // namespace

/// c10d and Gloo have no classes that would tell a lost peer from a timeout, so their texts decide.
void throw_collective_error(const std::exception_ptr& error, const std::string& where) {
  const Ending failure = failure_of(error);
  const std::string message = where + ": " + failure.message;
  if (mentions(failure.message, {"imed out", "imeout"})) throw TrainerError(ExitCode::collective_timeout, message);
  if (mentions(failure.message, {"onnection closed", "onnection reset", "Read error", "Write error", "Broken pipe",
                                 "onnection refused", "remote process exited", "Socket"})) {
    throw TrainerError(ExitCode::peer_lost, message);
  }
  std::rethrow_exception(error);
}

}  // namespace tenfold
