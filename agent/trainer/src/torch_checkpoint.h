// Files that torch.save wrote, read without running anything of theirs.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "pickle.h"
#include "safetensors.h"

namespace tenfold {

class ZipArchive;

/// A checkpoint that cannot be read, and what to do about it.
class CheckpointError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A torch.save archive: a pickle, and the storages that its tensors are views of.
class TorchCheckpoint {
 public:
  /// Reads the pickle. Throws CheckpointError: also where it would call something (the message names it), for the format
  /// of PyTorch before 1.6, and for TorchScript archives.
  explicit TorchCheckpoint(const std::filesystem::path& file);
  ~TorchCheckpoint();
  TorchCheckpoint(const TorchCheckpoint&) = delete;
  TorchCheckpoint& operator=(const TorchCheckpoint&) = delete;

  const PickleValue& root() const { return *pickle_.root; }

  /// A tensor of the pickle, contiguous, in its own type. Sizes are checked against the storage before memory is taken.
  /// Throws CheckpointError.
  at::Tensor load(const PickleTensor& tensor);

 private:
  at::Tensor storage(const PickleStorage& storage);

  std::string file_;
  std::unique_ptr<ZipArchive> archive_;
  std::string prefix_;  // the folder of the archive that everything is in
  Pickle pickle_;
  std::map<std::string, at::Tensor> storages_;  // by key
  int64_t stored_ = 0;                          // bytes of storages_
  int64_t loaded_ = 0;                          // bytes of the tensors that load() gave
};

}  // namespace tenfold
