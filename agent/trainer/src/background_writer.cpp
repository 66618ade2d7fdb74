#include "background_writer.h"

#include <chrono>

namespace tenfold {

BackgroundWriter::~BackgroundWriter() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    jobs_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundWriter::submit(std::function<void()> job, size_t backlog) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return unfinished_locked() <= backlog || error_; });
  rethrow_locked();
  jobs_.push_back(std::move(job));
  changed_.notify_all();
}

void BackgroundWriter::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return unfinished_locked() == 0 || error_; });
  rethrow_locked();
}

void BackgroundWriter::wait_quietly(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limit, [&] { return unfinished_locked() == 0 || error_; });
}

void BackgroundWriter::rethrow_locked() {
  if (error_) std::rethrow_exception(error_);
}

void BackgroundWriter::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return !jobs_.empty() || closing_; });
    if (jobs_.empty()) return;
    const std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      job();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    busy_ = false;
    if (error) {
      error_ = error;
      jobs_.clear();
    }
    changed_.notify_all();
    if (error) return;
  }
}

}  // namespace tenfold
