#pragma once

#include <cstdio>
#include <memory>

#include "events.h"

namespace tenfold {

/// Progress for people: a line an epoch, and between epochs one that is redrawn if `out` is a terminal. Warnings and a
/// failed end go to stderr.
std::unique_ptr<EventSink> console_sink(std::FILE* out, bool terminal);

/// Warnings and a failed end alone, with the rank's number: for ranks beside the one that prints progress.
std::unique_ptr<EventSink> quiet_sink(int rank);

}  // namespace tenfold
