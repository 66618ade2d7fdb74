#pragma once

#include <exception>
#include <string>

#include "exit_code.h"
#include "stall_watch.h"

namespace tenfold {

/// What c10d or a backend threw in a collective, as ours: peer_lost or collective_timeout where their text says so, else
/// the exception itself. `where` names the collective.
[[noreturn]] void throw_collective_error(const std::exception_ptr& error, const std::string& where);

/// Runs `work`, which talks to other ranks, and has its failures name the collective.
template <typename Work>
auto talking(StallWatch& watch, Work&& work) {
  try {
    return work();
  } catch (const TrainerError&) {
    throw;
  } catch (...) {
    const std::exception_ptr error = std::current_exception();
    watch.let_verdict_come();
    throw_collective_error(error, watch.where());
  }
}

}  // namespace tenfold
