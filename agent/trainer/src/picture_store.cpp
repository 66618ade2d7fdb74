#include "picture_store.h"

#include <utility>

#include "sha256.h"

namespace tenfold {

namespace {

/// `decoded`, possibly at a reduced scale, brought to the size that the file's picture has in a square of `size`.
Image fitted(Image decoded, const ImageInfo& info, int size) {
  const FittedSize target = fit_into_square(info.width, info.height, size);
  if (decoded.width == target.width && decoded.height == target.height) return decoded;
  return resize(decoded, target.width, target.height);
}

}  // namespace

PictureStore::PictureStore(Dataset dataset, int size, int64_t cache_bytes, std::shared_ptr<PictureFolder> folder)
    : dataset_(std::move(dataset)), size_(size), cache_bytes_(cache_bytes), folder_(std::move(folder)) {
  const auto count = static_cast<size_t>(dataset_.size());
  if (cache_bytes_ > 0) entries_.resize(count);
  if (folder_ != nullptr) keys_.resize(count);
}

std::shared_ptr<const Picture> PictureStore::get(int64_t id, std::vector<Corrupt>& corrupt) {
  auto entry = cached(id);
  if (entry == nullptr) {
    entry = read(id);
    keep(id, entry);
  }
  if (!entry->defect.empty()) corrupt.push_back({id, dataset_.name(id), entry->defect});
  return {entry, &entry->picture};
}

std::optional<FittedSize> PictureStore::fitted_size(int64_t id) const {
  const auto info = dataset_.probe(id);  // get() tells why there is none
  return info ? std::optional(fit_into_square(info->width, info->height, size_)) : std::nullopt;
}

std::shared_ptr<const PictureStore::Entry> PictureStore::cached(int64_t id) {
  std::string key;
  {
    const std::lock_guard lock(mutex_);
    if (!entries_.empty() && entries_.at(static_cast<size_t>(id)) != nullptr) return entries_[static_cast<size_t>(id)];
    if (folder_ != nullptr) key = keys_.at(static_cast<size_t>(id));
  }
  return key.empty() ? nullptr : stored(id, key);
}

std::shared_ptr<const PictureStore::Entry> PictureStore::stored(int64_t id, const std::string& key) {
  const auto found = folder_->find(key);
  if (!found) return nullptr;
  auto entry = std::make_shared<Entry>();
  entry->file = found->file;
  entry->in_folder = true;
  entry->picture = {found->image, dataset_.labels(id), found->original_width, found->original_height};
  return entry;
}

/// From the folder if the file's content is known there, else decoded.
std::shared_ptr<const PictureStore::Entry> PictureStore::read(int64_t id) {
  const Sample sample = dataset_.sample(id);
  std::string key;
  if (folder_ != nullptr) {
    key = key_of(sample);
    if (auto entry = stored(id, key)) return entry;
  }
  auto entry = std::make_shared<Entry>();
  try {
    if (!sample.defect.empty()) throw ImageError(sample.defect);
    const ImageInfo info = probe_image(sample.bytes);
    entry->pixels = fitted(decode_image(sample.bytes, {.min_long_side = size_}), info, size_);
    entry->picture = {entry->pixels.view(), sample.labels, info.width, info.height};
    entry->in_folder = folder_ != nullptr && folder_->keep(key, entry->picture.image, info.width, info.height);
  } catch (const ImageError& error) {
    entry->defect = error.what();
    entry->pixels = Image(1, 1, kGrey);
    entry->picture = {entry->pixels.view(), {}, 1, 1};
  }
  return entry;
}

/// The digest of the file's content and the size that it is brought to: whatever the file is called, and whenever it
/// changes, the picture is the right one. The file is read for it once a run.
std::string PictureStore::key_of(const Sample& sample) {
  std::string key = sha256_hex(sample.bytes) + "-" + std::to_string(size_);
  const std::lock_guard lock(mutex_);
  keys_[static_cast<size_t>(sample.id)] = key;
  return key;
}

/// What is defective is not kept: the file may be a sound one when it is asked for again.
void PictureStore::keep(int64_t id, const std::shared_ptr<const Entry>& entry) {
  if (entries_.empty() || entry->in_folder || !entry->defect.empty()) return;
  const auto bytes = static_cast<int64_t>(entry->pixels.pixels.size());
  const std::lock_guard lock(mutex_);
  auto& slot = entries_[static_cast<size_t>(id)];
  if (slot != nullptr || kept_bytes_ + bytes > cache_bytes_) return;
  slot = entry;
  kept_bytes_ += bytes;
}

}  // namespace tenfold
