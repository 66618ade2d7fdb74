#include "picture_store.h"

#include <utility>

namespace tenfold {

namespace {

/// `decoded`, possibly at a reduced scale, brought to the size that the file's picture has in a square of `size`.
Image fitted(Image decoded, const ImageInfo& info, int size) {
  const FittedSize target = fit_into_square(info.width, info.height, size);
  if (decoded.width == target.width && decoded.height == target.height) return decoded;
  return resize(decoded, target.width, target.height);
}

}  // namespace

PictureStore::PictureStore(Dataset dataset, int size, int64_t cache_bytes)
    : dataset_(std::move(dataset)), size_(size), cache_bytes_(cache_bytes) {
  if (cache_bytes_ > 0) entries_.resize(static_cast<size_t>(dataset_.size()));
}

std::shared_ptr<const Picture> PictureStore::get(int64_t id, std::vector<Corrupt>& corrupt) {
  auto entry = cached(id);
  if (entry == nullptr) {
    entry = read(id);
    keep(id, entry);
  }
  if (!entry->defect.empty()) corrupt.push_back({id, dataset_.sample(id).name, entry->defect});
  return {entry, &entry->picture};
}

std::shared_ptr<const PictureStore::Entry> PictureStore::cached(int64_t id) {
  if (entries_.empty()) return nullptr;
  const std::lock_guard lock(mutex_);
  return entries_.at(static_cast<size_t>(id));
}

std::shared_ptr<const PictureStore::Entry> PictureStore::read(int64_t id) const {
  auto entry = std::make_shared<Entry>();
  Picture& picture = entry->picture;
  try {
    const Sample sample = dataset_.sample(id);
    const ImageInfo info = probe_image(sample.bytes);
    picture = {fitted(decode_image(sample.bytes, {.min_long_side = size_}), info, size_), sample.labels, info.width,
               info.height};
  } catch (const ImageError& error) {
    entry->defect = error.what();
    picture = {Image(size_, size_, kGrey), {}, size_, size_};
  }
  return entry;
}

void PictureStore::keep(int64_t id, const std::shared_ptr<const Entry>& entry) {
  if (entries_.empty()) return;
  const auto bytes = static_cast<int64_t>(entry->picture.image.pixels.size());
  const std::lock_guard lock(mutex_);
  auto& slot = entries_[static_cast<size_t>(id)];
  if (slot != nullptr || kept_bytes_ + bytes > cache_bytes_) return;
  slot = entry;
  kept_bytes_ += bytes;
}

}  // namespace tenfold
