#include "picture_cache.h"

#include <filesystem>
#include <utility>

#include "exit_code.h"
#include "host_memory.h"

namespace tenfold {

namespace {

constexpr int64_t kAutoBytes = int64_t{1} << 30;
constexpr int64_t kFolderBytes = int64_t{100} << 30;

std::shared_ptr<PictureFolder> open_folder(PictureFolder::OnRefusal on_refusal) {
  const std::filesystem::path folder = default_picture_folder();
  if (folder.empty())
    throw TrainerError(ExitCode::bad_config, "train.cache: disk needs a folder: set HOME or XDG_CACHE_HOME");
  try {
    return std::make_shared<PictureFolder>(folder, kFolderBytes, std::move(on_refusal));
  } catch (const std::filesystem::filesystem_error& error) {
    throw TrainerError(ExitCode::bad_config, std::string("train.cache: disk: ") + error.what());
  }
}

}  // namespace

PictureCache picture_cache(const std::string& cache, double share, PictureFolder::OnRefusal on_refusal) {
  if (cache == "disk") return {kAutoBytes, open_folder(std::move(on_refusal))};
  if (cache == "off") return {0, nullptr};
  if (cache == "ram") return {static_cast<int64_t>(static_cast<double>(available_host_bytes()) * share), nullptr};
  return {kAutoBytes, nullptr};
}

}  // namespace tenfold
