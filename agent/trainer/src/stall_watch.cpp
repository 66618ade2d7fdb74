#include "stall_watch.h"

#include <algorithm>
#include <utility>

namespace tenfold {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(100);
/// That a rank which still lives has to say where it stands.
constexpr auto kGrace = std::chrono::seconds(3);

enum class Outcome { pending, done, failed };

Outcome outcome_of(const c10::intrusive_ptr<c10d::Work>& work) {
  if (!work) return Outcome::pending;
  try {
    if (!work->isCompleted()) return Outcome::pending;
  } catch (const std::exception&) {
    return Outcome::failed;  // its device does
  }
  return work->exception() ? Outcome::failed : Outcome::done;
}

}  // namespace

StallWatch::StallWatch(const Rendezvous& rendezvous, OnStall on_stall, std::optional<std::chrono::milliseconds> hearing)
    : limit_(rendezvous.timeout),
      on_stall_(std::move(on_stall)),
      hearing_(hearing),
      roll_call_(rendezvous),
      thread_([this] { watch(); }) {}

StallWatch::~StallWatch() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StallWatch::let_verdict_come() {
  std::unique_lock lock(mutex_);
  failure_heard_ = true;
  if (roll_call_.called()) changed_.wait(lock, [&] { return told_; });
}

std::string StallWatch::where() const {
  const Standing now = standing();
  return "collective " + std::to_string(now.sequence) + " (" + now.collective + ")";
}

uint64_t StallWatch::begin(std::string name) {
  const std::lock_guard lock(mutex_);
  forget_done();
  newest_name_ = std::move(name);
  newest_since_ = Clock::now();
  under_way_.push_back({++newest_, newest_name_, newest_since_, nullptr});
  return newest_;
}

void StallWatch::attach(uint64_t sequence, const c10::intrusive_ptr<c10d::Work>& work) {
  const std::lock_guard lock(mutex_);
  for (UnderWay& one : under_way_) {
    if (one.sequence == sequence) one.work = work;
  }
}

void StallWatch::end(uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  std::erase_if(under_way_, [&](const UnderWay& one) { return one.sequence == sequence; });
}

/// With the lock held. They end in the order in which they began, so the first that goes on ends the search.
void StallWatch::forget_done() {
  const auto is_over = [&](Outcome outcome) { return outcome == Outcome::done || (outcome == Outcome::failed && !hearing_); };
  while (!under_way_.empty() && is_over(outcome_of(under_way_.front().work))) under_way_.pop_front();
}

/// With the lock held: whether the oldest has taken too long, or failed without anybody's hearing of it.
bool StallWatch::must_call(Clock::time_point now) {
  forget_done();
  if (under_way_.empty()) return false;
  if (outcome_of(under_way_.front().work) != Outcome::failed) {
    failed_since_.reset();
    return now - under_way_.front().since >= limit_;
  }
  if (!failed_since_) failed_since_ = now;
  return !failure_heard_ && now - *failed_since_ >= *hearing_;
}

Standing StallWatch::standing() const {
  const std::lock_guard lock(mutex_);
  const bool waits = !under_way_.empty();
  const auto since = waits ? under_way_.front().since : newest_since_;
  return {.sequence = waits ? under_way_.front().sequence : newest_,
          .collective = waits ? under_way_.front().name : newest_name_,
          .seconds = std::chrono::duration<double>(Clock::now() - since).count(),
          .waits = waits};
}

void StallWatch::watch() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, kLookEvery, [&] { return over_; })) return;
      if (must_call(Clock::now())) roll_call_.call();
    }
    if (!roll_call_.called()) continue;
    on_stall_(stall_verdict(roll_call_.answers(standing(), kGrace)));
    const std::lock_guard lock(mutex_);
    told_ = true;
    changed_.notify_all();
    return;
  }
}

}  // namespace tenfold
