#include "picture_cache.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "exit_code.h"

namespace tenfold {

namespace {

constexpr int64_t kAutoBytes = int64_t{1} << 30;
constexpr int64_t kFolderBytes = int64_t{100} << 30;

std::optional<int64_t> number_in(const char* file) {
  std::ifstream in(file);
  int64_t number = 0;
  return in >> number ? std::optional(number) : std::nullopt;
}

/// What the kernel calls available, in bytes.
std::optional<int64_t> available_memory() {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  for (int64_t kib = 0; in >> name >> kib; std::getline(in, unit))
    if (name == "MemAvailable:") return kib * 1024;
  return std::nullopt;
}

/// What is left of the container's limit, if there is one (control groups, version 2).
std::optional<int64_t> memory_left_in_container() {
  const auto limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  return limit && used ? std::optional(std::max<int64_t>(0, *limit - *used)) : std::nullopt;
}

int64_t free_memory() {
  const int64_t available = available_memory().value_or(2 * kAutoBytes);
  return std::min(available, memory_left_in_container().value_or(available));
}

std::shared_ptr<PictureFolder> open_folder() {
  const std::filesystem::path folder = default_picture_folder();
  if (folder.empty())
    throw TrainerError(ExitCode::bad_config, "train.cache: disk needs a folder: set HOME or XDG_CACHE_HOME");
  try {
    return std::make_shared<PictureFolder>(folder, kFolderBytes);
  } catch (const std::filesystem::filesystem_error& error) {
    throw TrainerError(ExitCode::bad_config, std::string("train.cache: disk: ") + error.what());
  }
}

}  // namespace

PictureCache picture_cache(const std::string& cache, double share) {
  if (cache == "disk") return {0, open_folder()};
  if (cache == "off") return {0, nullptr};
  if (cache == "ram") return {static_cast<int64_t>(static_cast<double>(free_memory()) * share), nullptr};
  return {kAutoBytes, nullptr};
}

}  // namespace tenfold
