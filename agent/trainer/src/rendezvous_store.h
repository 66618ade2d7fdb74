#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <string>

#include "collective.h"

namespace tenfold {

/// The key-value store through which ranks find each other, with all keys under the generation.
struct MeetingPoint {
  c10::intrusive_ptr<c10d::Store> store;
  std::string own_address;  // of this host, as seen on the way to rank 0
};

/// Rank 0 starts the store's server, the others connect to it as soon as it listens. Throws
/// TrainerError(rendezvous_failed).
MeetingPoint open_meeting_point(const Rendezvous& rendezvous);

/// Another connection to the store of an open meeting point: a client serves one caller at a time.
c10::intrusive_ptr<c10d::Store> connect_to_store(const Rendezvous& rendezvous);

}  // namespace tenfold
