#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "events.h"
#include "progress.h"
#include "safetensors.h"

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
  int world_size = 1;  // for people; a checkpoint is good at any
  int64_t ema_updates = 0;
  std::vector<uint8_t> rng;  // state of the default generator
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

/// Deletes all but the newest `keep` checkpoints of `dir`, and what interrupted writers left behind.
void prune_checkpoints(const std::filesystem::path& dir, int keep);

/// Reads a checkpoint folder; every file named in its state.json is verified by size and SHA-256 before it is used.
/// Throws TrainerError(bad_checkpoint).
Snapshot read_checkpoint(const std::filesystem::path& folder);

}  // namespace tenfold
