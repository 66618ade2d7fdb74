#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>

#include "image.h"
#include "mapped_file.h"

namespace tenfold {

/// Decoded, resized pictures in files of a folder, mapped into memory when they are asked for. It survives restarts, and
/// all ranks and runs of a host may use it at once: a file appears whole or not at all, and is never changed. Safe from
/// several threads.
class PictureFolder {
 public:
  struct Stored {
    std::shared_ptr<const MappedFile> file;  // keeps the pixels
    ImageView image;
    int original_width = 0;
    int original_height = 0;
  };

  /// Makes the folder. About `max_bytes` are kept in it: pictures that no run since has asked for make room, the longest
  /// unused first; those of this run stay. Throws std::filesystem::filesystem_error.
  PictureFolder(std::filesystem::path folder, int64_t max_bytes);

  /// The picture that was kept under `key`, which must be a name for a file and at least two characters long. A file that
  /// is not whole counts as none.
  std::optional<Stored> find(const std::string& key);

  /// Keeps a picture if there is room. A disk that is full or fails is no error: the picture is made anew next time.
  void keep(const std::string& key, const ImageView& image, int original_width, int original_height);

 private:
  std::filesystem::path path_of(const std::string& key) const;
  void measure();
  bool make_room(int64_t bytes);
  bool evict_one();

  std::filesystem::path folder_;
  int64_t max_bytes_;
  std::filesystem::file_time_type opened_;

  std::mutex mutex_;  // guards what follows
  int64_t bytes_ = 0;             // in the folder when it was last measured, and added since
  int64_t added_bytes_ = 0;       // since then
  std::multimap<std::filesystem::file_time_type, std::filesystem::path> unused_;  // since this run began
  std::unordered_set<std::string> used_;                                          // keys, by this run
};

/// Where decoded pictures are kept unless told otherwise: in the user's cache folder ($XDG_CACHE_HOME or ~/.cache).
/// Empty where neither is known.
std::filesystem::path default_picture_folder();

}  // namespace tenfold
