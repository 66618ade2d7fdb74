#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <poll.h>
#include <unistd.h>

#include "events.h"

namespace tenfold {
namespace {

int64_t unix_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

/// Writes all of `text`; false when the reader is gone.
bool write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      pollfd ready{fd, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

class NdjsonSink final : public EventSink {
 public:
  explicit NdjsonSink(int fd) : fd_(fd), writer_([this] { write_lines(); }) {}

  ~NdjsonSink() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_writer_.notify_one();
    writer_.join();
  }

  void emit(const Event& event) override {
    std::string line = to_json_line(event, unix_ms());
    line += '\n';
    std::unique_lock lock(mutex_);
    // Past this much the reader is stuck rather than slow; waiting then bounds the memory.
    wake_waiters_.wait(lock, [this] { return queued_bytes_ < kMaxQueuedBytes || broken_; });
    if (broken_) return;
    queued_bytes_ += line.size();
    lines_.push_back(std::move(line));
    wake_writer_.notify_one();
  }

  void flush() override {
    std::unique_lock lock(mutex_);
    wake_waiters_.wait(lock, [this] { return (lines_.empty() && !writing_) || broken_; });
  }

 private:
  static constexpr size_t kMaxQueuedBytes = size_t{64} << 20;

  void write_lines() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_writer_.wait(lock, [this] { return !lines_.empty() || closing_; });
      if (lines_.empty()) return;
      std::string text;
      for (const std::string& line : lines_) text += line;
      lines_.clear();
      writing_ = true;
      lock.unlock();
      const bool good = write_whole(fd_, text);
      lock.lock();
      writing_ = false;
      queued_bytes_ -= text.size();
      wake_waiters_.notify_all();
      if (!good) {
        broken_ = true;
        return;
      }
    }
  }

  const int fd_;
  std::mutex mutex_;
  std::condition_variable wake_writer_;
  std::condition_variable wake_waiters_;
  std::deque<std::string> lines_;
  size_t queued_bytes_ = 0;
  bool writing_ = false;
  bool broken_ = false;
  bool closing_ = false;
  std::thread writer_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<EventSink> ndjson_sink(int fd) { return std::make_unique<NdjsonSink>(fd); }

}  // namespace tenfold
