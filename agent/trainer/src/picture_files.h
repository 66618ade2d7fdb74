#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tenfold {

/// A picture to look at, and where what is said about it goes.
struct PictureFile {
  std::filesystem::path path;
  /// Relative, below the folder that was searched, and without extension; no two are the same. Of pictures that differ
  /// in their extension alone, all but the first by name keep it: "a" for a.jpg and "a.png" for a.png beside it.
  std::filesystem::path name;
};

struct FoundPictures {
  std::vector<PictureFile> files;  ///< by name
  std::string left_out;            ///< what to tell of pictures whose format is not read; empty where there is none
};

/// The JPEG, PNG and WebP files that `source` names: one file (whatever it is called), a folder with those below it, or
/// a pattern ("shots/*.jpg", "shots/**/*.jpg"). Throws TrainerError(bad_data) where there is none.
FoundPictures find_pictures(const std::string& source);

}  // namespace tenfold
