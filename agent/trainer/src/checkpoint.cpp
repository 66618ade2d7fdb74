#include "checkpoint.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <utility>

#include <unistd.h>

#include "exit_code.h"
#include "file_io.h"

namespace tenfold {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr const char* kStateFile = "state.json";
constexpr const char* kPrefix = "step-";
constexpr const char* kTemporaryPrefix = ".writing-";

/// The tensor files of a checkpoint, by name; `best` is the only one that may be missing.
struct TensorFile {
  const char* name;
  NamedTensors Snapshot::*tensors;
};
constexpr std::array<TensorFile, 4> kTensorFiles{{
    {"model.safetensors", &Snapshot::model},
    {"ema.safetensors", &Snapshot::ema},
    {"optimizer.safetensors", &Snapshot::optimizer},
    {"best.safetensors", &Snapshot::best},
}};

Json identity_json(const CheckpointIdentity& identity) {
  return Json{{"nc", identity.nc},
              {"seed", identity.seed},
              {"batch", identity.batch},
              {"samples", identity.samples},
              {"optimizer", identity.optimizer}};
}

CheckpointIdentity identity_from(const Json& json) {
  return {json.at("nc"), json.at("seed"), json.at("batch"), json.at("samples"), json.at("optimizer")};
}

Json state_json(const Snapshot& snapshot, const std::vector<FileDigest>& files) {
  Json listed = Json::array();
  for (const FileDigest& file : files) {
    listed.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  Json state = to_json(snapshot.progress);
  state["format"] = kFormat;
  state["identity"] = identity_json(snapshot.identity);
  state["world_size"] = snapshot.world_size;
  state["device_batch"] = snapshot.device_batch;
  state["ema_updates"] = snapshot.ema_updates;
  state["rng"] = snapshot.rng;
  Json arguments = Json::object();
  for (const auto& [key, value] : snapshot.arguments) arguments[key] = value;
  state["arguments"] = std::move(arguments);
  state["files"] = std::move(listed);
  return state;
}

std::vector<Setting> arguments_from(const Json& state) {
  std::vector<Setting> arguments;
  if (const auto found = state.find("arguments"); found != state.end())
    for (const auto& [key, value] : found->items()) arguments.push_back({key, value});
  return arguments;
}

/// Deletes a folder unless it was released: what is left when writing fails half-way.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(fs::path path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }
  void rename_to(const fs::path& target) {
    sync_folder(path_);
    fs::remove_all(target);  // the same step, written by an earlier attempt
    fs::rename(path_, target);
    path_.clear();
    sync_folder(target.parent_path());
  }

 private:
  fs::path path_;
};

[[noreturn]] void refuse(const fs::path& folder, const std::string& what) {
  throw TrainerError(ExitCode::bad_checkpoint, "checkpoint " + folder.string() + ": " + what);
}

/// Users name the run that they want to go on with, or its weights.
void refuse_run_folder(const fs::path& folder) {
  std::error_code ignored;
  if (fs::exists(folder / kStateFile, ignored)) return;
  if (fs::is_regular_file(folder, ignored)) {
    const auto newest = newest_checkpoint(fs::absolute(folder).parent_path().parent_path());
    throw TrainerError(ExitCode::bad_config, "resume.dir: " + folder.string() + " is a file, but a checkpoint is a folder" +
                                                 (newest ? "; the newest of that run is " + newest->string() : "") +
                                                 ". To begin anew with its weights: weights=" + folder.string());
  }
  if (const auto newest = newest_checkpoint(folder))
    throw TrainerError(ExitCode::bad_config, "resume.dir: " + folder.string() +
                                                 " is no checkpoint but holds some; the newest is " + newest->string());
}

std::vector<uint8_t> verified_file(const fs::path& folder, const Json& listed) {
  const std::string name = listed.at("name");
  if (name.find('/') != std::string::npos) refuse(folder, "a file name with a slash: " + name);
  std::vector<uint8_t> bytes = read_file(folder / name);
  if (static_cast<int64_t>(bytes.size()) != listed.at("bytes").get<int64_t>()) {
    refuse(folder, name + " has " + std::to_string(bytes.size()) + " bytes instead of " + listed.at("bytes").dump());
  }
  if (sha256_hex(bytes) != listed.at("sha256").get<std::string>()) refuse(folder, name + " is corrupt (SHA-256)");
  return bytes;
}

Snapshot read_unchecked(const fs::path& folder) {
  refuse_run_folder(folder);
  const std::vector<uint8_t> text = read_file(folder / kStateFile);
  const Json state = Json::parse(text.begin(), text.end());
  if (state.at("format") != kFormat) refuse(folder, "format " + state.at("format").dump() + " is not known here");
  Snapshot snapshot;
  snapshot.progress = progress_from_json(state);
  snapshot.identity = identity_from(state.at("identity"));
  state.at("world_size").get_to(snapshot.world_size);
  snapshot.device_batch = state.value("device_batch", int64_t{0});
  state.at("ema_updates").get_to(snapshot.ema_updates);
  state.at("rng").get_to(snapshot.rng);
  snapshot.arguments = arguments_from(state);
  for (const Json& listed : state.at("files")) {
    const std::vector<uint8_t> bytes = verified_file(folder, listed);
    for (const TensorFile& file : kTensorFiles) {
      if (listed.at("name") != file.name) continue;
      SafeTensors content = parse_safetensors(bytes, (folder / file.name).string());
      snapshot.*file.tensors = std::move(content.tensors);
      if (file.tensors == &Snapshot::ema) snapshot.metadata = std::move(content.metadata);
    }
  }
  if (snapshot.model.empty() || snapshot.ema.empty() || snapshot.optimizer.empty()) {
    refuse(folder, "state.json does not list model, ema and optimizer");
  }
  return snapshot;
}

}  // namespace

std::optional<fs::path> newest_checkpoint(const fs::path& run) {
  std::optional<fs::path> newest;
  fs::file_time_type written;
  for (const fs::path& folder : {run, run / "checkpoints"}) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (!entry.path().filename().string().starts_with(kPrefix)) continue;
      std::error_code missing;
      const auto time = fs::last_write_time(entry.path() / kStateFile, missing);
      if (missing || (newest && std::pair(time, entry.path()) < std::pair(written, *newest))) continue;
      newest = entry.path();
      written = time;
    }
  }
  return newest;
}

std::vector<Setting> checkpoint_arguments(const fs::path& folder) {
  std::ifstream in(folder / kStateFile);
  const Json state = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  try {
    return state.is_object() ? arguments_from(state) : std::vector<Setting>{};
  } catch (const Json::exception&) {
    return {};  // read_checkpoint() says what is wrong
  }
}

std::string checkpoint_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "%s%08lld", kPrefix, static_cast<long long>(step));
  return name;
}

CheckpointEvent write_checkpoint(const fs::path& dir, const Snapshot& snapshot) {
  const std::string name = checkpoint_name(snapshot.progress.step);
  TemporaryFolder folder(dir / (kTemporaryPrefix + name + "-" + std::to_string(::getpid())));
  CheckpointEvent event{snapshot.progress.step, snapshot.progress.cursor, (dir / name).string(), {}, {}, {}, {}};
  for (const TensorFile& file : kTensorFiles) {
    const NamedTensors& tensors = snapshot.*file.tensors;
    if (tensors.empty()) continue;
    event.files.push_back(write_safetensors(folder.path() / file.name, tensors, snapshot.metadata));
  }
  DurableFile state(folder.path() / kStateFile);
  state.write(state_json(snapshot, event.files).dump());
  event.files.push_back(state.commit());
  folder.rename_to(dir / name);

  const auto& history = snapshot.progress.history;
  if (!history.empty() && history.back().metrics) {
    event.fitness = fitness_of(*history.back().metrics);
    event.map50 = history.back().metrics->map50;
    event.map50_95 = history.back().metrics->map50_95;
  }
  return event;
}

void CheckpointRotation::add(const fs::path& written) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir_, error)) {
    if (entry.path().filename().string().starts_with(kTemporaryPrefix)) fs::remove_all(entry.path(), error);
  }
  std::erase(written_, written);  // the same step once more
  written_.push_back(written);
  for (; written_.size() > keep_; written_.erase(written_.begin())) fs::remove_all(written_.front(), error);
}

Snapshot read_checkpoint(const fs::path& folder) {
  try {
    return read_unchecked(folder);
  } catch (const TrainerError&) {
    throw;
  } catch (const std::exception& error) {
    refuse(folder, error.what());
  }
}

}  // namespace tenfold
