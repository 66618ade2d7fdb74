#include "run_folder.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "file_io.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

/// The columns of `history`, whose rows all have the same loss items.
std::string header_of(const std::vector<EpochRow>& history) {
  std::string train, val;
  for (const LossItem& item : history.empty() ? LossItems{} : history.front().train) {
    train += ",train/" + item.name + "_loss";
    val += ",val/" + item.name + "_loss";
  }
  return "epoch,time" + train + ",metrics/precision(B),metrics/recall(B),metrics/mAP50(B),metrics/mAP50-95(B)" + val +
         ",lr/pg0,lr/pg1,lr/pg2";
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

/// JSON's strings are YAML's too, so names and paths need no rules of their own.
std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

}  // namespace

std::string results_csv(const std::vector<EpochRow>& history) {
  std::string csv = header_of(history) + "\n";
  for (const EpochRow& row : history) {
    const MetricSummary metrics = row.metrics.value_or(MetricSummary{});
    std::vector<double> values = {row.time_s};
    for (const LossItem& item : row.train) values.push_back(item.value);
    values.insert(values.end(), {metrics.precision, metrics.recall, metrics.map50, metrics.map50_95});
    for (size_t i = 0; i < row.train.size(); ++i) values.push_back(row.val ? row.val->at(i).value : 0);
    values.insert(values.end(), row.lr.begin(), row.lr.end());
    csv += std::to_string(row.epoch);
    for (const double value : values) csv += "," + number(value);
    csv += "\n";
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

void write_results(const fs::path& run_dir, const std::vector<EpochRow>& history) {
  replace_file(run_dir / "results.csv", results_csv(history));
}

void write_args(const Config& config) {
  fs::create_directories(config.run_dir / "weights");
  replace_file(config.run_dir / "args.yaml", args_yaml(config));
}

FileDigest write_weights(const fs::path& run_dir, const std::string& name, const NamedTensors& weights,
                         const Metadata& metadata) {
  const fs::path path = run_dir / "weights" / (name + ".safetensors");
  const fs::path temporary = path.string() + ".tmp";
  FileDigest written = write_safetensors(temporary, weights, metadata);
  fs::rename(temporary, path);
  written.name = fs::relative(path, run_dir).generic_string();
  return written;
}

std::vector<FileDigest> run_files(const fs::path& run_dir, const fs::path& checkpoints) {
  std::vector<FileDigest> files;
  const fs::path skipped = fs::weakly_canonical(checkpoints);
  for (auto entry = fs::recursive_directory_iterator(run_dir); entry != fs::recursive_directory_iterator(); ++entry) {
    if (entry->is_directory() && fs::weakly_canonical(entry->path()) == skipped) entry.disable_recursion_pending();
    if (!entry->is_regular_file() || entry->path().extension() == ".tmp") continue;
    const std::vector<uint8_t> bytes = read_file(entry->path());
    files.push_back({fs::relative(entry->path(), run_dir).generic_string(), static_cast<int64_t>(bytes.size()),
                     sha256_hex(bytes)});
  }
  std::sort(files.begin(), files.end(), [](const FileDigest& a, const FileDigest& b) { return a.name < b.name; });
  return files;
}

}  // namespace tenfold
