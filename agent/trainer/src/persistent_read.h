#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <system_error>
#include <thread>

namespace tenfold {

/// Between the tries of read_persistently(), together some six seconds: a file server that is restarted is mostly back by
/// then, and nobody waits for long to learn of a broken disk.
inline constexpr std::array<std::chrono::milliseconds, 6> kReadPauses{
    std::chrono::milliseconds{100}, std::chrono::milliseconds{200},  std::chrono::milliseconds{400},
    std::chrono::milliseconds{800}, std::chrono::milliseconds{1600}, std::chrono::milliseconds{3200}};

inline void sleep_for(std::chrono::milliseconds pause) { std::this_thread::sleep_for(pause); }

/// Whether the error says that there is no such file, which no second try changes.
inline bool says_missing(const std::system_error& error) {
  return error.code() == std::errc::no_such_file_or_directory;
}

/// What `read` returns. Where it throws std::system_error, other than of a missing file, it is called again after each of
/// kReadPauses; the last error goes to the caller. `pause` waits.
template <typename Read>
auto read_persistently(const Read& read, const std::function<void(std::chrono::milliseconds)>& pause = sleep_for) {
  for (const std::chrono::milliseconds length : kReadPauses) {
    try {
      return read();
    } catch (const std::system_error& error) {
      if (says_missing(error)) throw;
    }
    pause(length);
  }
  return read();
}

}  // namespace tenfold
