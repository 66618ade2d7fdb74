#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "picture_folder.h"

namespace tenfold {

/// Where a loader keeps decoded pictures.
struct PictureCache {
  int64_t memory_bytes = int64_t{1} << 30;
  std::shared_ptr<PictureFolder> folder = nullptr;  // may be null
};

/// What the argument `cache` means here: off; auto, up to 1 GiB of memory; ram, up to `share` of the memory that is free
/// now; disk, files in the user's cache folder. Throws TrainerError(bad_config) when there is no such folder.
PictureCache picture_cache(const std::string& cache, double share);

}  // namespace tenfold
