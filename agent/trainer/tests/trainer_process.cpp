#include "trainer_process.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process_maps.h"

namespace tenfold::testing {
namespace {

constexpr int kEventsFd = 3;
constexpr int kControlFd = 4;

/// Both ends with close-on-exec, and none among the numbers that the child uses.
void make_pipe(int (&ends)[2]) {
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  for (int& end : ends) {
    const int moved = ::fcntl(end, F_DUPFD_CLOEXEC, 10);
    ::close(end);
    end = moved;
  }
}

}  // namespace

TrainerProcess::TrainerProcess(const std::vector<std::string>& arguments,
                               const std::map<std::string, std::string>& environment) {
  int events[2];
  int control[2];
  make_pipe(events);
  make_pipe(control);
  std::vector<std::string> words = {TENFOLD_TRAINER};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> settings = {"TENFOLD_EVENTS_FD=3", "TENFOLD_CONTROL_FD=4", "PATH=/usr/bin:/bin"};
  for (const auto& [name, value] : environment) settings.push_back(name + "=" + value);
  std::vector<char*> argv;
  std::vector<char*> envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& setting : settings) envp.push_back(setting.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  output_ = ::memfd_create("output", MFD_CLOEXEC);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("no process");
  if (pid_ == 0) {
    ::dup2(output_, STDOUT_FILENO);
    ::dup2(output_, STDERR_FILENO);
    ::dup2(events[1], kEventsFd);
    ::dup2(control[0], kControlFd);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(events[1]);
  ::close(control[0]);
  control_ = control[1];
  reader_ = std::thread([this, fd = events[0]] { read_events(fd); });
}

TrainerProcess::~TrainerProcess() {
  if (exit_code_ < 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
  close_control();
  if (::testing::Test::HasFailure()) std::fprintf(stderr, "%s", output().c_str());
  ::close(output_);
}

std::string TrainerProcess::output() const {
  std::string text(static_cast<size_t>(::lseek(output_, 0, SEEK_END)), '\0');
  const ssize_t size = ::pread(output_, text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return text;
}

void TrainerProcess::read_events(int fd) {
  std::string pending;
  char buffer[65536];
  for (ssize_t size; (size = ::read(fd, buffer, sizeof(buffer))) > 0;) {
    pending.append(buffer, static_cast<size_t>(size));
    const std::lock_guard lock(mutex_);
    for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) {
      events_.push_back(Json::parse(pending.substr(0, end)));
    }
    changed_.notify_all();
  }
  ::close(fd);
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

TrainerProcess::Json TrainerProcess::wait_for(const std::function<bool(const Json&)>& wanted) {
  std::unique_lock lock(mutex_);
  for (size_t seen = 0;; ++seen) {
    changed_.wait(lock, [&] { return seen < events_.size() || ended_; });
    if (seen == events_.size()) return nullptr;
    if (wanted(events_[seen])) return events_[seen];
  }
}

TrainerProcess::Json TrainerProcess::wait_for_type(const std::string& type) {
  return wait_for([&](const Json& event) { return event["type"] == type; });
}

void TrainerProcess::command(const std::string& line) {
  const std::string text = line + "\n";
  if (::write(control_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::runtime_error("the trainer takes no commands");
  }
}

void TrainerProcess::close_control() {
  if (control_ >= 0) ::close(control_);
  control_ = -1;
}

void TrainerProcess::signal(int number) const { ::kill(pid_, number); }

int TrainerProcess::wait() {
  if (exit_code_ >= 0) return exit_code_;
  reader_.join();
  int status = 0;
  ::waitpid(pid_, &status, 0);
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

std::vector<TrainerProcess::Json> TrainerProcess::events() {
  const std::lock_guard lock(mutex_);
  return events_;
}

std::vector<TrainerProcess::Json> TrainerProcess::events(const std::string& type) {
  std::vector<Json> found;
  for (Json& event : events()) {
    if (event["type"] == type) found.push_back(std::move(event));
  }
  return found;
}

int64_t TrainerProcess::mappings(const std::string& part) const {
  return testing::mappings(std::to_string(pid_), part);
}

std::map<std::string, std::string> rank_environment(int rank, int world_size, int port, bool one_host) {
  return {{"RANK", std::to_string(rank)},
          {"LOCAL_RANK", std::to_string(rank)},
          {"WORLD_SIZE", std::to_string(world_size)},
          {"LOCAL_WORLD_SIZE", std::to_string(one_host ? world_size : 1)},
          {"MASTER_ADDR", "127.0.0.1"},
          {"MASTER_PORT", std::to_string(port)},
          {"OMP_NUM_THREADS", "1"}};
}

}  // namespace tenfold::testing
