#pragma once

#include <torch/csrc/distributed/c10d/Work.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "roll_call.h"
#include "stall_verdict.h"

namespace tenfold {

/// Numbers a rank's collectives and watches that they end. One that does not within the limit makes all ranks say where
/// they stand (see RollCall); then each is told the verdict, once, from a thread of this object's.
///
/// A collective that hangs cannot be interrupted (a GPU's least of all), so what is done about it is up to `on_stall`,
/// which had better end the process. Gloo and NCCL have time limits of their own, set later than this one: they break
/// the ranks' connections, and then nobody can tell any more who was the first to be missing.
///
/// A collective over NCCL that fails lets nobody know: the thread that trains waits for the device, which waits for a peer. So
/// the ranks can be called for a failure, too, that this thread has not heard of within a time.
class StallWatch {
 public:
  /// `hearing`: within which the thread that trains must have heard of a failure; none: it hears of all, sooner or later.
  StallWatch(const Rendezvous& rendezvous, OnStall on_stall, std::optional<std::chrono::milliseconds> hearing = std::nullopt);
  ~StallWatch();
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

  /// How much later than the watch's limit the backend's own may come.
  static constexpr std::chrono::milliseconds backend_slack() { return std::chrono::seconds(30); }

  /// A collective that is over when `whole` returns.
  template <typename Whole>
  void run(std::string name, Whole&& whole) {
    const uint64_t sequence = begin(std::move(name));
    whole();
    end(sequence);
  }

  /// A collective that `start` begins: over when its work is done.
  template <typename Start>
  c10::intrusive_ptr<c10d::Work> follow(std::string name, Start&& start) {
    const uint64_t sequence = begin(std::move(name));
    c10::intrusive_ptr<c10d::Work> work = start();
    attach(sequence, work);
    return work;
  }

  /// Called where it is heard that a collective failed. When ranks are being called, connections that break are the consequence of a stall:
  /// returns when on_stall was told of it, and at once where there is none.
  void let_verdict_come();

  /// "collective 17 (gradients, bucket 1)": the oldest that is under way, or else the newest.
  std::string where() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct UnderWay {
    uint64_t sequence;
    std::string name;
    Clock::time_point since;
    c10::intrusive_ptr<c10d::Work> work;  // null: ends by end()
  };

  uint64_t begin(std::string name);
  void attach(uint64_t sequence, const c10::intrusive_ptr<c10d::Work>& work);
  void end(uint64_t sequence);
  void forget_done();
  bool must_call(Clock::time_point now);
  Standing standing() const;
  void watch();

  const std::chrono::milliseconds limit_;
  const OnStall on_stall_;
  const std::optional<std::chrono::milliseconds> hearing_;
  RollCall roll_call_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  bool told_ = false;
  bool failure_heard_ = false;
  std::optional<Clock::time_point> failed_since_;
  uint64_t newest_ = 0;
  std::string newest_name_;
  Clock::time_point newest_since_ = Clock::now();
  std::list<UnderWay> under_way_;  // oldest first
  std::thread thread_;
};

}  // namespace tenfold
