#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace tenfold {

/// Runs jobs one after the other in a thread of its own, so that the training does not wait for disks. A job that
/// throws ends the writing; the error comes back from the next submit() or wait().
class BackgroundWriter {
 public:
  BackgroundWriter() : thread_([this] { work(); }) {}
  /// Finishes the job under way; those behind it are dropped.
  ~BackgroundWriter();
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  /// Waits while more than `backlog` jobs are before this one: snapshots must not pile up in memory.
  void submit(std::function<void()> job, size_t backlog = 4);
  /// Returns when all jobs are done.
  void wait();
  /// As wait(), but gives up after `limit` and swallows errors: for a process that is failing already.
  void wait_quietly(std::chrono::milliseconds limit);

 private:
  void work();
  void rethrow_locked();
  size_t unfinished_locked() const { return jobs_.size() + (busy_ ? 1 : 0); }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool busy_ = false;
  bool closing_ = false;
  std::exception_ptr error_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace tenfold
