#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config.h"
#include "events.h"
#include "progress.h"
#include "safetensors.h"

namespace tenfold {

/// A column of results.csv, and the tag of the same name in TensorBoard.
struct ResultColumn {
  std::string name;
  std::optional<double> value;  // none: not measured in this epoch
};

/// An epoch's columns after `epoch` and `time`, named as YOLO tools name them.
std::vector<ResultColumn> result_columns(const EpochRow& row);

/// The text of results.csv: YOLO tools' header with the losses of the model's family, a line an epoch. A cell is empty where
/// nothing was measured.
std::string results_csv(const std::vector<EpochRow>& history);

/// The text of args.yaml: what this run was asked for, every default filled in.
std::string args_yaml(const Config& config);

/// Throws TrainerError(bad_config) where a file is in the way of the run's folders, or where the run's holds another
/// training, and this one does not go on with one.
void check_folders(const Config& config);

/// Writes results.csv into the run folder, replaced whole.
void write_results(const std::filesystem::path& run_dir, const std::vector<EpochRow>& history);

/// Writes weights/<name>.safetensors, replaced whole, and tells its path within the run folder, size and SHA-256.
FileDigest write_weights(const std::filesystem::path& run_dir, const std::string& name, const NamedTensors& weights,
                         const Metadata& metadata);

/// Every finished file of the run folder but checkpoints, by path, with size and SHA-256.
std::vector<FileDigest> run_files(const std::filesystem::path& run_dir, const std::filesystem::path& checkpoints);

}  // namespace tenfold
