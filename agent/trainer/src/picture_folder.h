#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
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

  /// Told of the first picture that the folder does not take, from whichever thread: the folder, and why.
  using OnRefusal = std::function<void(const std::string& message)>;

  /// Makes the folder. About `max_bytes` are kept in it: pictures that no run since has asked for make room, the longest
  /// unused first; those of this run stay. `on_refusal` may be empty. Throws std::filesystem::filesystem_error.
  PictureFolder(std::filesystem::path folder, int64_t max_bytes, OnRefusal on_refusal = {});

  /// The picture that was kept under `key`, which must be a name for a file and at least two characters long. A file that
  /// is not whole counts as none.
  std::optional<Stored> find(const std::string& key);

  /// Keeps a picture if there is room; whether it did. A disk that is full or fails is no error: the picture must be kept
  /// elsewhere, or made anew next time.
  bool keep(const std::string& key, const ImageView& image, int original_width, int original_height);

 private:
  std::filesystem::path path_of(const std::string& key) const;
  void measure();
  std::string take(const std::string& key, const ImageView& image, int original_width, int original_height);
  std::string make_room(int64_t bytes);
  bool evict_one();

  std::filesystem::path folder_;
  int64_t max_bytes_;
  OnRefusal on_refusal_;
  std::filesystem::file_time_type opened_;

  std::mutex mutex_;  // guards what follows
  int64_t bytes_ = 0;             // in the folder when it was last measured, and added since
  int64_t added_bytes_ = 0;       // since then
  bool refused_ = false;          // a picture, which was told
  std::multimap<std::filesystem::file_time_type, std::filesystem::path> unused_;  // since this run began
  std::unordered_set<std::string> used_;                                          // keys, by this run
};

/// Where decoded pictures are kept unless told otherwise: in the user's cache folder ($XDG_CACHE_HOME or ~/.cache).
/// Empty where neither is known.
std::filesystem::path default_picture_folder();

}  // namespace tenfold
