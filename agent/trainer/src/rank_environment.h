#pragma once

#include <functional>
#include <optional>
#include <string>

namespace tenfold {

/// This process' place among the ranks, from the torchrun environment. Without RANK: one process on its own.
struct RankEnvironment {
  int rank = 0;
  int local_rank = 0;
  int world_size = 1;
  int local_world_size = 1;
  std::string master_addr = "127.0.0.1";
  int master_port = 29500;
  std::optional<int> threads;      // OMP_NUM_THREADS
  std::optional<int> events_fd;    // TENFOLD_EVENTS_FD
  std::optional<int> control_fd;   // TENFOLD_CONTROL_FD
};

/// Value of an environment variable, or nullopt.
using GetEnv = std::function<std::optional<std::string>(const std::string& name)>;

/// Reads and checks the variables; throws TrainerError(bad_config) naming all that are wrong.
RankEnvironment read_rank_environment(const GetEnv& get);
RankEnvironment read_rank_environment();

}  // namespace tenfold
