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

/// Throws TrainerError(bad_config) where a file is in the way of the run's folders, or where the run's holds a training that
/// this one does not go on with. `trusting`: whoever started it knows what is in the folder.
void check_folders(const Config& config, bool trusting = false);

/// Makes the folder of a run that named none, or where another training took it meanwhile the next free one.
void claim_run_folder(Config& config);

/// Removes that folder again if nothing came to lie in it.
void give_back_run_folder(const Config& config);

/// Writes results.csv into the run folder, replaced whole.
void write_results(const std::filesystem::path& run_dir, const std::vector<EpochRow>& history);

/// Writes weights/<name>.safetensors, replaced whole, and tells its path within the run folder, size and SHA-256.
FileDigest write_weights(const std::filesystem::path& run_dir, const std::string& name, const NamedTensors& weights,
                         const Metadata& metadata);

/// Every finished file of a run, by its path in the run folder, with size and SHA-256: those that lie directly in it, and
/// weights and pictures. Not its checkpoints, and not what else a user may keep below the folder.
std::vector<FileDigest> run_files(const std::filesystem::path& run_dir);

}  // namespace tenfold
