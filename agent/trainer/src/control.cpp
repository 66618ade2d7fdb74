#include "control.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "exit_code.h"

namespace tenfold {
namespace {

constexpr int kParentCheckMs = 500;
/// A step may take minutes; nobody is left to wait for its end.
constexpr auto kOrphanGrace = std::chrono::milliseconds(1500);

Requests* signalled = nullptr;

void on_signal(int signal) {
  // A second signal means: now.
  if (signalled == nullptr || signalled->stop.load()) ::_exit(128 + signal);
  signalled->stop_checkpoint = true;
  signalled->stop = true;
}

class FdControl final : public Control {
 public:
  explicit FdControl(int fd) : fd_(fd), parent_(::getppid()) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    thread_ = std::thread([this] { listen(); });
  }

  ~FdControl() override {
    closing_ = true;
    thread_.join();
  }

 private:
  void listen() {
    std::string pending;
    while (!closing_ && ::getppid() == parent_) {
      pollfd ready{fd_, POLLIN, 0};
      const int count = ::poll(&ready, 1, kParentCheckMs);
      if (count == 0 || (count < 0 && errno == EINTR)) continue;
      char buffer[4096];
      const ssize_t size = count < 0 ? -1 : ::read(fd_, buffer, sizeof(buffer));
      if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (size <= 0) break;
      pending.append(buffer, static_cast<size_t>(size));
      take_lines(pending);
    }
    if (!closing_) end_as_orphan();
  }

  void take_lines(std::string& pending) {
    for (size_t end = pending.find('\n'); end != std::string::npos; end = pending.find('\n')) {
      const std::string problem = apply_command(pending.substr(0, end), requests_);
      if (!problem.empty()) std::fprintf(stderr, "control: %s\n", problem.c_str());
      pending.erase(0, end + 1);
    }
  }

  void end_as_orphan() {
    requests_.orphaned = true;
    const auto deadline = std::chrono::steady_clock::now() + kOrphanGrace;
    while (!closing_ && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    if (!closing_) ::_exit(static_cast<int>(ExitCode::orphaned));
  }

  const int fd_;
  const pid_t parent_;
  std::atomic<bool> closing_{false};
  std::thread thread_;
};

class SignalControl final : public Control {
 public:
  SignalControl() {
    signalled = &requests_;
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
  }
  ~SignalControl() override {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    signalled = nullptr;
  }
};

}  // namespace

std::string apply_command(const std::string& line, Requests& requests) {
  if (line.find_first_not_of(" \t\r") == std::string::npos) return "";
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("cmd")) return "not a command: " + line;
  const nlohmann::json& command = json["cmd"];
  if (command == "checkpoint") {
    requests.checkpoint = true;
    return "";
  }
  if (command == "stop") {
    const auto with_checkpoint = json.find("checkpoint");
    if (with_checkpoint != json.end() && !with_checkpoint->is_boolean()) {
      return "stop: `checkpoint` must be true or false: " + line;
    }
    if (with_checkpoint != json.end() && with_checkpoint->get<bool>()) requests.stop_checkpoint = true;
    requests.stop = true;
    return "";
  }
  return "unknown command: " + line;
}

std::unique_ptr<Control> control_from_fd(int fd) { return std::make_unique<FdControl>(fd); }

std::unique_ptr<Control> control_from_signals() { return std::make_unique<SignalControl>(); }

}  // namespace tenfold
