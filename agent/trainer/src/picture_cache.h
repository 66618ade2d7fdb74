#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "picture_folder.h"

namespace tenfold {

/// Where a loader keeps decoded pictures.
struct PictureCache {
  int64_t memory_bytes = int64_t{1} << 30;
  std::shared_ptr<PictureFolder> folder = nullptr;  // may be null; memory is for what it does not take
};

/// What the argument `cache` means here: off; auto, up to 1 GiB of memory; ram, up to `share` of the memory that is free
/// now; disk, files in the user's cache folder, and up to 1 GiB of memory for what that does not take. Of the first such
/// picture `on_refusal` is told, from a thread that reads pictures. Throws TrainerError(bad_config) when there is no such
/// folder.
PictureCache picture_cache(const std::string& cache, double share, PictureFolder::OnRefusal on_refusal = {});

}  // namespace tenfold
