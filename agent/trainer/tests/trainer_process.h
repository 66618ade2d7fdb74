#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <condition_variable>
#include <string>
#include <thread>
#include <vector>

#include <sys/types.h>

namespace tenfold::testing {

/// A real tenfold-trainer, with its events read and its control descriptor held. Killed and reaped at the end.
class TrainerProcess {
 public:
  using Json = nlohmann::json;

  TrainerProcess(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment);
  ~TrainerProcess();
  TrainerProcess(const TrainerProcess&) = delete;
  TrainerProcess& operator=(const TrainerProcess&) = delete;

  /// Waits for an event that `wanted` accepts, those already there included; null when the process ends without one.
  Json wait_for(const std::function<bool(const Json&)>& wanted);
  Json wait_for_type(const std::string& type);
  void command(const std::string& line);
  void close_control();
  void signal(int number) const;
  /// Waits for the end: the exit code, or 128 + the signal's number.
  int wait();
  /// All events; call after wait().
  std::vector<Json> events();
  std::vector<Json> events(const std::string& type);
  /// How many of its memory mappings have `part` in their name.
  int64_t mappings(const std::string& part) const;
  /// What it wrote to stdout and stderr so far; shown when the test fails.
  std::string output() const;

 private:
  void read_events(int fd);

  pid_t pid_ = -1;
  int control_ = -1;
  int output_ = -1;
  int exit_code_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Json> events_;
  bool ended_ = false;
  std::thread reader_;
};

/// The environment of rank `rank` of `world_size` on this host; or as if each were on a host of its own.
std::map<std::string, std::string> rank_environment(int rank, int world_size, int port, bool one_host = true);

}  // namespace tenfold::testing
