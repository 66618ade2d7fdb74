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

/// What Gloo said, without the line of its source before it and the advice behind it.
std::string plain(const std::string& said) {
  const size_t bracket = said.starts_with('[') ? said.find("] ") : std::string::npos;
  const size_t begin = bracket == std::string::npos ? 0 : bracket + 2;
  return said.substr(begin, said.find(". This is typically caused by") - begin);
}

}  // namespace

/// c10d and Gloo have no classes that would tell a lost peer from a timeout, so their texts decide.
void throw_collective_error(const std::exception_ptr& error, const std::string& where) {
  const Ending failure = failure_of(error);
  const std::string said = plain(failure.message);
  if (mentions(said, {"imed out", "imeout"})) throw TrainerError(ExitCode::collective_timeout, where + ": " + said);
  if (mentions(said, {"onnection closed", "onnection reset", "Read error", "Write error", "Broken pipe",
                      "onnection refused", "remote process exited", "Socket"})) {
    throw TrainerError(ExitCode::peer_lost, where + ": another rank went away: " + said);
  }
  std::rethrow_exception(error);
}

}  // namespace tenfold
