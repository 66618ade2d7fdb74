#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config.h"
#include "events.h"
#include "progress.h"
#include "safetensors.h"

namespace tenfold {

/// The text of results.csv: YOLO tools' header, a line an epoch.
std::string results_csv(const std::vector<EpochRow>& history);

/// The text of args.yaml: what this run was asked for, every default filled in.
std::string args_yaml(const Config& config);

/// Writes results.csv and args.yaml into the run folder, each replaced whole.
void write_results(const std::filesystem::path& run_dir, const std::vector<EpochRow>& history);
void write_args(const Config& config);

/// Writes weights/<name>.safetensors, replaced whole, and tells its path within the run folder, size and SHA-256.
FileDigest write_weights(const std::filesystem::path& run_dir, const std::string& name, const NamedTensors& weights,
                         const Metadata& metadata);

/// Every finished file of the run folder but checkpoints, by path, with size and SHA-256.
std::vector<FileDigest> run_files(const std::filesystem::path& run_dir, const std::filesystem::path& checkpoints);

}  // namespace tenfold
