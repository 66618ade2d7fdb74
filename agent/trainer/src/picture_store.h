#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "augment.h"
#include "dataset.h"

namespace tenfold {

/// An image that could not be read. It was replaced by a grey picture without labels, so the order did not shift.
struct Corrupt {
  int64_t id = 0;
  std::string name;
  std::string reason;
};

/// Decoded pictures at a network's working size, kept in memory as far as they fit. Safe from several threads.
class PictureStore {
 public:
  /// Keeps pictures up to `cache_bytes` in all; those that come first stay.
  PictureStore(Dataset dataset, int size, int64_t cache_bytes);

  const Dataset& dataset() const { return dataset_; }

  /// The picture of `id`, its longer side `size`. When its file is corrupt: grey, without labels, and reported to
  /// `corrupt` every time.
  std::shared_ptr<const Picture> get(int64_t id, std::vector<Corrupt>& corrupt);

 private:
  struct Entry {
    Picture picture;
    std::string defect;  // empty: sound
  };

  std::shared_ptr<const Entry> cached(int64_t id);
  std::shared_ptr<const Entry> read(int64_t id) const;
  void keep(int64_t id, const std::shared_ptr<const Entry>& entry);

  Dataset dataset_;
  int size_;
  int64_t cache_bytes_;
  std::mutex mutex_;  // guards the two below
  std::vector<std::shared_ptr<const Entry>> entries_;
  int64_t kept_bytes_ = 0;
};

}  // namespace tenfold
