#include "roll_call.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "rendezvous_store.h"

namespace tenfold {
namespace {

constexpr auto kListenEvery = std::chrono::milliseconds(500);
constexpr auto kAnswerEvery = std::chrono::milliseconds(20);
/// Rank 0 ends last: the others read the answers from its store.
constexpr auto kHostLingers = std::chrono::milliseconds(500);

const std::string kCalled = "roll-call";

std::string key_of(int rank) { return "standing/" + std::to_string(rank); }

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

}  // namespace

struct RollCallState {
  explicit RollCallState(const Rendezvous& rendezvous)
      : rendezvous(rendezvous), answers(static_cast<size_t>(rendezvous.world_size)) {}

  const Rendezvous rendezvous;
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  bool called = false;  // by this rank, or by another
  std::optional<Standing> own;
  std::vector<std::optional<Standing>> answers;  // by rank

  bool all_answered() const {
    return std::ranges::all_of(answers, [](const auto& answer) { return answer.has_value(); });
  }
};

namespace {

/// The side of the conversation that talks to the store.
class Talker {
 public:
  explicit Talker(RollCallState& state) : state_(state), store_(connect_to_store(state.rendezvous)) {}

  void run() {
    while (const auto news = wait_for_news()) {
      exchange_calls(news->call);
      if (own_) exchange_answers(news->answer);
    }
  }

 private:
  /// What the store is to be told in this round.
  struct News {
    bool call;
    bool answer;
  };

  /// Waits a little, or until this rank has something to tell. nullopt when it is over.
  std::optional<News> wait_for_news() {
    std::unique_lock lock(state_.mutex);
    state_.changed.wait_for(lock, own_ ? kAnswerEvery : kListenEvery, [&] {
      return state_.over || (state_.called && !called_) || (state_.own && !own_);
    });
    if (state_.over) return std::nullopt;
    const News news{.call = state_.called && !called_, .answer = state_.own && !own_};
    own_ = state_.own;
    return news;
  }

  void exchange_calls(bool call) {
    if (called_) return;
    if (call) store_->set(kCalled, bytes_of("called"));
    called_ = call || store_->check({kCalled});
    if (!called_) return;
    const std::lock_guard lock(state_.mutex);
    state_.called = true;
  }

  void exchange_answers(bool answer) {
    const Rendezvous& rendezvous = state_.rendezvous;
    if (answer) store_->set(key_of(rendezvous.rank), bytes_of(to_text(*own_)));
    for (int rank = 0; rank < rendezvous.world_size; ++rank) {
      if (!store_->check({key_of(rank)})) continue;
      const std::vector<uint8_t> text = store_->get(key_of(rank));
      const std::lock_guard lock(state_.mutex);
      state_.answers[static_cast<size_t>(rank)] = standing_of({text.begin(), text.end()});
      state_.changed.notify_all();
    }
  }

  RollCallState& state_;
  c10::intrusive_ptr<c10d::Store> store_;
  bool called_ = false;          // the store knows
  std::optional<Standing> own_;  // as the store knows it
};

}  // namespace

RollCall::RollCall(const Rendezvous& rendezvous) : state_(std::make_shared<RollCallState>(rendezvous)) {
  std::thread([state = state_] {
    try {
      Talker(*state).run();
    } catch (const std::exception&) {
      // The store is gone, and rank 0 with it: no answers will come, and its peers' connections break too.
    }
  }).detach();
}

RollCall::~RollCall() {
  const std::lock_guard lock(state_->mutex);
  state_->over = true;
  state_->changed.notify_all();
}

void RollCall::call() {
  const std::lock_guard lock(state_->mutex);
  state_->called = true;
  state_->changed.notify_all();
}

bool RollCall::called() const {
  const std::lock_guard lock(state_->mutex);
  return state_->called;
}

std::vector<std::optional<Standing>> RollCall::answers(const Standing& own, std::chrono::milliseconds grace) {
  std::unique_lock lock(state_->mutex);
  state_->own = own;
  state_->answers[static_cast<size_t>(state_->rendezvous.rank)] = own;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, grace, [&] { return state_->all_answered(); });
  std::vector<std::optional<Standing>> heard = state_->answers;
  lock.unlock();
  if (state_->rendezvous.rank == 0) std::this_thread::sleep_for(kHostLingers);
  return heard;
}

}  // namespace tenfold
