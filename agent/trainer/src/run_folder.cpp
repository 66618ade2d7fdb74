#include "run_folder.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>
#include <utility>

#include "checkpoint.h"
#include "exit_code.h"
#include "file_io.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

std::string number(double value) {
  if (std::isnan(value)) return "nan";  // not -nan
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

/// JSON's strings are YAML's too, so names and paths need no rules of their own.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The first part of a path that exists, from its end, where that is no folder.
std::optional<fs::path> file_in_the_way(const fs::path& folder) {
  for (fs::path path = fs::absolute(folder); path.has_relative_path(); path = path.parent_path()) {
    std::error_code ignored;
    const fs::file_status status = fs::status(path, ignored);
    if (fs::exists(status)) return fs::is_directory(status) ? std::nullopt : std::optional(path);
  }
  return std::nullopt;
}

bool holds_a_run(const fs::path& folder) {
  return fs::exists(folder / "args.yaml") || fs::exists(folder / "results.csv") || fs::exists(folder / "weights");
}

bool lies_below(const fs::path& path, const fs::path& folder) {
  const fs::path relative = fs::weakly_canonical(path).lexically_relative(fs::weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

/// Files of two trainings in one folder could not be told apart.
[[noreturn]] void refuse_another_run(const fs::path& folder) {
  const std::optional<fs::path> newest = newest_checkpoint(folder);
  throw TrainerError(ExitCode::bad_config,
                     "run.dir: " + folder.string() + " holds a training already; name another folder or none" +
                         (newest ? ", or go on with that one: resume=" + newest->string() : ""));
}

}  // namespace

std::vector<ResultColumn> result_columns(const EpochRow& row) {
  std::vector<ResultColumn> columns;
  for (const LossItem& item : row.train) columns.push_back({"train/" + item.name + "_loss", item.value});
  const auto metric = [&](const char* name, double MetricSummary::*member) {
    columns.push_back({name, row.metrics ? std::optional((*row.metrics).*member) : std::nullopt});
  };
  metric("metrics/precision(B)", &MetricSummary::precision);
  metric("metrics/recall(B)", &MetricSummary::recall);
  metric("metrics/mAP50(B)", &MetricSummary::map50);
  metric("metrics/mAP50-95(B)", &MetricSummary::map50_95);
  for (size_t i = 0; i < row.train.size(); ++i)
    columns.push_back({"val/" + row.train[i].name + "_loss", row.val ? std::optional(row.val->at(i).value) : std::nullopt});
  for (size_t i = 0; i < row.lr.size(); ++i) columns.push_back({"lr/pg" + std::to_string(i), row.lr[i]});
  return columns;
}

std::string results_csv(const std::vector<EpochRow>& history) {
  std::string csv = "epoch,time";
  for (const ResultColumn& column : result_columns(history.empty() ? EpochRow{} : history.front())) csv += ',' + column.name;
  csv += '\n';
  for (const EpochRow& row : history) {
    csv += std::to_string(row.epoch) + ',' + number(row.time_s);
    for (const ResultColumn& column : result_columns(row)) csv += ',' + (column.value ? number(*column.value) : "");
    csv += '\n';
  }
  return csv;
}

std::string args_yaml(const Config& config) {
  std::string data;
  if (const auto* shards = std::get_if<ShardData>(&config.data)) data = shards->index.string();
  if (const auto* yaml = std::get_if<YamlData>(&config.data)) data = yaml->path.string();
  std::ostringstream text;
  text << "name: " << quoted(config.run_name) << "\nmodel: " << quoted(config.arch) << "\nweights: "
       << (config.weights ? quoted(config.weights->string()) : "null") << "\ndata: " << quoted(data) << '\n'
       << arguments_yaml(config.train);
  return text.str();
}

void check_folders(const Config& config, bool trusting) {
  for (const auto& [field, folder] :
       {std::pair("run.dir", config.run_dir), std::pair("checkpoint.dir", config.checkpoint.dir)})
    if (const auto file = file_in_the_way(folder))
      throw TrainerError(ExitCode::bad_config,
                         std::string(field) + ": " + folder.string() + " cannot be a folder: " +
                             (*file == fs::absolute(folder) ? "it" : file->string()) + " is a file");
  const auto is_own = [&](const fs::path& step) {
    return lies_below(step, config.run_dir) || lies_below(step, config.checkpoint.dir);
  };
  const bool goes_on = config.resume_dir && (trusting || is_own(*config.resume_dir));
  if (!goes_on && holds_a_run(config.run_dir)) refuse_another_run(config.run_dir);
}

void claim_run_folder(Config& config) {
  if (!config.chose_run_dir) return;
  const bool keeps_checkpoints = config.checkpoint.dir == config.run_dir / "checkpoints";
  std::error_code failed;
  fs::create_directories(config.run_dir.parent_path(), failed);
  while (!failed && !fs::create_directory(config.run_dir, failed)) config.run_dir = free_run_dir(config.run_name);
  if (failed)
    throw TrainerError(ExitCode::bad_config, "run.dir: " + config.run_dir.string() + " cannot be made: " + failed.message() +
                                                 "; name another folder: dir=FOLDER");
  if (keeps_checkpoints) config.checkpoint.dir = config.run_dir / "checkpoints";
}

void give_back_run_folder(const Config& config) {
  std::error_code holds_something;
  if (config.chose_run_dir) fs::remove(config.run_dir, holds_something);
}

void write_results(const fs::path& run_dir, const std::vector<EpochRow>& history) {
  replace_file(run_dir / "results.csv", results_csv(history));
}

FileDigest write_weights(const fs::path& run_dir, const std::string& name, const NamedTensors& weights,
                         const Metadata& metadata) {
  fs::create_directories(run_dir / "weights");
  const fs::path path = run_dir / "weights" / (name + ".safetensors");
  const fs::path temporary = path.string() + ".tmp";
  FileDigest written = write_safetensors(temporary, weights, metadata);
  fs::rename(temporary, path);
  written.name = fs::relative(path, run_dir).generic_string();
  return written;
}

std::vector<FileDigest> run_files(const fs::path& run_dir) {
  std::vector<FileDigest> files;
  for (const char* part : {"", "weights", "val_pred"}) {
    std::error_code missing;
    for (const auto& entry : fs::directory_iterator(run_dir / part, missing)) {
      if (!entry.is_regular_file() || entry.path().extension() == ".tmp") continue;
      const std::vector<uint8_t> bytes = read_file(entry.path());
      files.push_back({fs::relative(entry.path(), run_dir).generic_string(), static_cast<int64_t>(bytes.size()),
                       sha256_hex(bytes)});
    }
  }
  std::sort(files.begin(), files.end(), [](const FileDigest& a, const FileDigest& b) { return a.name < b.name; });
  return files;
}

}  // namespace tenfold
