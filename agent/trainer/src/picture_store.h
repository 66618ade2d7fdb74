#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "augment.h"
#include "dataset.h"
#include "picture_folder.h"

namespace tenfold {

/// An image that could not be read. It was replaced by nothing but grey without labels, so the order did not shift.
struct Corrupt {
  int64_t id = 0;
  std::string name;
  std::string reason;
};

/// Decoded pictures at a network's working size, kept in memory or in files as far as they fit. Safe from several
/// threads.
class PictureStore {
 public:
  /// Keeps pictures in memory up to `cache_bytes` in all; those that come first stay. With a `folder` pictures are looked
  /// for and kept there, and in memory only those that it does not take.
  PictureStore(Dataset dataset, int size, int64_t cache_bytes, std::shared_ptr<PictureFolder> folder = nullptr);

  const Dataset& dataset() const { return dataset_; }

  /// The picture of `id`, its longer side `size`. When its file is corrupt: a grey pixel, without labels, and reported
  /// to `corrupt` every time. A file that exists and cannot be read throws std::system_error, as Dataset::sample does.
  std::shared_ptr<const Picture> get(int64_t id, std::vector<Corrupt>& corrupt);

  /// The size that get()'s picture has, from the file's header alone; nullopt when that cannot be read.
  std::optional<FittedSize> fitted_size(int64_t id) const;

 private:
  struct Entry {
    Image pixels;                            // one of the two keeps them
    std::shared_ptr<const MappedFile> file;
    Picture picture;
    bool in_folder = false;
    std::string defect;  // empty: sound
  };

  std::shared_ptr<const Entry> cached(int64_t id);
  std::shared_ptr<const Entry> stored(int64_t id, const std::string& key);
  std::shared_ptr<const Entry> read(int64_t id);
  void keep(int64_t id, const std::shared_ptr<const Entry>& entry);
  std::string key_of(const Sample& sample);

  Dataset dataset_;
  int size_;
  int64_t cache_bytes_;
  std::shared_ptr<PictureFolder> folder_;
  std::mutex mutex_;  // guards what follows
  std::vector<std::shared_ptr<const Entry>> entries_;
  std::vector<std::string> keys_;  // in the folder; empty until known
  int64_t kept_bytes_ = 0;
};

}  // namespace tenfold
