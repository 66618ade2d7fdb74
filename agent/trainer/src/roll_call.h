#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "collective.h"
#include "stall_verdict.h"

namespace tenfold {

struct RollCallState;

/// How ranks find out who is missing when a collective stalls: whoever has waited too long calls the roll, through the
/// store that they met by, and every rank that still lives says where it stands.
///
/// The store's client blocks for ever where the host of the store, rank 0, is stopped or cut off. So a thread of its own
/// talks to it, which nobody ever waits for longer than the grace.
class RollCall {
 public:
  /// Connects to the store of the rendezvous, which must be open; in the background, and again and again in vain only
  /// where rank 0 is gone, which its peers learn otherwise.
  explicit RollCall(const Rendezvous& rendezvous);
  ~RollCall();
  RollCall(const RollCall&) = delete;
  RollCall& operator=(const RollCall&) = delete;

  /// Asks all ranks where they stand.
  void call();
  /// Whether any rank has called.
  bool called() const;
  /// Tells the others where this rank stands, and hears them. By rank; nullopt: no answer within the grace.
  std::vector<std::optional<Standing>> answers(const Standing& own, std::chrono::milliseconds grace);

 private:
  std::shared_ptr<RollCallState> state_;  // shared with the thread that talks to the store
};

}  // namespace tenfold
