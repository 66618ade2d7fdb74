#include "rank_environment.h"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <vector>

#include "exit_code.h"

namespace tenfold {
namespace {

/// Collects what is wrong while variables are read, so that all of it can be told at once.
class Reader {
 public:
  explicit Reader(const GetEnv& get) : get_(get) {}

  std::optional<int> integer(const std::string& name, int low, int high = std::numeric_limits<int>::max()) {
    const std::optional<std::string> text = get_(name);
    if (!text || text->empty()) return std::nullopt;
    int value = 0;
    const char* end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, value);
    if (error != std::errc() || stop != end || value < low || value > high) {
      problems_.push_back(name + "=" + *text + " is not a whole number from " + std::to_string(low) +
                          (high == std::numeric_limits<int>::max() ? " up" : " to " + std::to_string(high)));
      return std::nullopt;
    }
    return value;
  }

  std::string text(const std::string& name, const std::string& otherwise) { return get_(name).value_or(otherwise); }

  void problem(std::string text) { problems_.push_back(std::move(text)); }

  void finish() const {
    if (problems_.empty()) return;
    std::string message = "environment:";
    for (const std::string& problem : problems_) message += "\n  " + problem;
    throw TrainerError(ExitCode::bad_config, message);
  }

 private:
  const GetEnv& get_;
  std::vector<std::string> problems_;
};

}  // namespace

RankEnvironment read_rank_environment(const GetEnv& get) {
  Reader read(get);
  RankEnvironment env;
  env.events_fd = read.integer("TENFOLD_EVENTS_FD", 0);
  env.control_fd = read.integer("TENFOLD_CONTROL_FD", 0);
  env.threads = read.integer("OMP_NUM_THREADS", 1);
  if (get("RANK")) {
    env.rank = read.integer("RANK", 0).value_or(0);
    env.world_size = read.integer("WORLD_SIZE", 1).value_or(1);
    env.local_rank = read.integer("LOCAL_RANK", 0).value_or(0);
    env.local_world_size = read.integer("LOCAL_WORLD_SIZE", 1).value_or(1);
    env.master_addr = read.text("MASTER_ADDR", env.master_addr);
    env.master_port = read.integer("MASTER_PORT", 1, 65535).value_or(env.master_port);
    if (env.rank >= env.world_size) {
      read.problem("RANK=" + std::to_string(env.rank) + " is not below WORLD_SIZE=" + std::to_string(env.world_size));
    }
  } else if (const auto ranks = read.integer("WORLD_SIZE", 1); ranks.value_or(1) > 1) {
    read.problem("WORLD_SIZE=" + std::to_string(*ranks) + " without RANK: which of the ranks is this? Set RANK too, as torchrun "
                 "does, or unset WORLD_SIZE to train alone");
  }
  read.finish();
  return env;
}

RankEnvironment read_rank_environment() {
  return read_rank_environment([](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  });
}

}  // namespace tenfold
