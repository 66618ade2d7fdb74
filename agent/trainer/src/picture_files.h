#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tenfold {

/// A picture to look at, and where what is said about it goes.
struct PictureFile {
  std::filesystem::path path;
  std::filesystem::path name;  ///< relative and without extension; no two are the same
};

/// The JPEG, PNG and WebP files that `source` names, by name: one file, a folder with those below it, or a pattern
/// ("shots/*.jpg"). Throws TrainerError(bad_data) where there is none.
std::vector<PictureFile> find_pictures(const std::string& source);

}  // namespace tenfold
