#pragma once

#include <atomic>
#include <memory>
#include <string>

namespace tenfold {

/// What this process was asked to do; read by the training loop at step boundaries. Ranks agree on it before they act.
struct Requests {
  std::atomic<bool> checkpoint{false};       // write one at the next step boundary
  std::atomic<bool> stop{false};             // end at the next step boundary
  std::atomic<bool> stop_checkpoint{false};  // and write one before
  std::atomic<bool> orphaned{false};         // the agent is gone: end
};

/// Understands one line of commands.ndjson and notes it. Returns what is wrong with the line, or an empty text.
std::string apply_command(const std::string& line, Requests& requests);

/// Listens to what may end this process: the control descriptor in a thread of its own, and SIGINT and SIGTERM.
class Control {
 public:
  virtual ~Control() = default;
  Requests& requests() { return requests_; }

 protected:
  Requests requests_;
};

/// Commands from `fd`. End of file there, or the death of the parent, means that the agent is gone: `orphaned` is set,
/// and unless the process has ended at a step boundary within a short time, it exits at once with code 24. The kernel
/// is also asked to kill the process when its parent dies. Unknown commands go to stderr.
std::unique_ptr<Control> control_from_fd(int fd);

/// No agent: the first SIGINT or SIGTERM asks for a checkpoint and a stop, the second ends the process at once.
std::unique_ptr<Control> control_from_signals();

}  // namespace tenfold
