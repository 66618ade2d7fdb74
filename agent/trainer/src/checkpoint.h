#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "events.h"
#include "progress.h"
#include "safetensors.h"
#include "setting.h"

namespace tenfold {

/// What a checkpoint belongs to, beside its network, which its metadata describes. A resume under another identity
/// would mean another job.
struct CheckpointIdentity {
  int64_t nc = 0;
  int64_t seed = 0;
  int64_t batch = 0;
  int64_t samples = 0;  // of the training split: the cursor counts in its permutation
  std::string optimizer;
  bool operator==(const CheckpointIdentity&) const = default;
};

/// A whole training at a step boundary. Its tensors are no longer the training's own.
struct Snapshot {
  CheckpointIdentity identity;
  Progress progress;
  int world_size = 1;        // of the ranks that wrote it; a checkpoint is good at any
  int64_t device_batch = 0;  // images that a pass of one of them took at most; 0: older checkpoints do not say
  int64_t ema_updates = 0;
  std::vector<uint8_t> rng;  // state of the default generator
  std::vector<Setting> arguments;  // the training's, resolved; older checkpoints have none
  NamedTensors model;
  NamedTensors ema;
  NamedTensors optimizer;
  NamedTensors best;  // weights of the best epoch so far; may be empty
  Metadata metadata;  // of the weight files; describes the network
};

/// "step-00000375"
std::string checkpoint_name(int64_t step);

/// Writes the snapshot as a folder of `dir` that appears whole or not at all: files under a temporary name, all synced,
/// then renamed. Returns what is to be told of it. Throws std::system_error.
CheckpointEvent write_checkpoint(const std::filesystem::path& dir, const Snapshot& snapshot);

/// Which checkpoints of a folder stay. Only those that this process wrote are counted and deleted. Any other may be of
/// another run in the same folder, of a branch that was left by resuming from before it, or the one resumed from: a
/// higher step makes it no newer, and a lower one no older.
class CheckpointRotation {
 public:
  CheckpointRotation(std::filesystem::path dir, size_t keep) : dir_(std::move(dir)), keep_(keep) {}

  /// A checkpoint of the folder was written: deletes those written before but for the last `keep`, and what interrupted
  /// writers left behind.
  void add(const std::filesystem::path& written);

 private:
  std::filesystem::path dir_;
  size_t keep_;
  std::vector<std::filesystem::path> written_;  // oldest first
};

/// The checkpoint written last of those in a run's folder, or in its `checkpoints`.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& run);

/// The arguments of the training that a checkpoint is of, as words of a command line; none where it cannot be read, or does
/// not say.
std::vector<Setting> checkpoint_arguments(const std::filesystem::path& folder);

/// Reads a checkpoint folder; every file named in its state.json is verified by size and SHA-256 before it is used.
/// Throws TrainerError: bad_checkpoint; bad_config where the folder is none but holds some, as a run's does, which names the
/// newest.
Snapshot read_checkpoint(const std::filesystem::path& folder);

}  // namespace tenfold
