#include "picture_folder.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <system_error>
#include <utility>

namespace tenfold {

namespace fs = std::filesystem;

namespace {

constexpr char kMagic[8] = {'T', 'F', 'P', 'I', 'C', 'T', '0', '1'};

/// What a file begins with. Machine byte order: the folder is a host's own.
struct Header {
  char magic[8];
  int32_t width, height, original_width, original_height;
  uint8_t unused[40];
};
static_assert(sizeof(Header) == 64);

/// Behind the pixels, so that readers of pixel pairs stay within the file.
constexpr size_t kTail = 64;
static_assert(kTail >= kPixelSlack);

/// A file system that is nearly full is left alone.
constexpr uintmax_t kSpareBytes = uintmax_t{1} << 30;

/// Files bear the time of the kernel's last tick, which is a little behind the clock's.
constexpr std::chrono::seconds kTick{1};

/// A temporary file older than this was left behind by a process that died.
constexpr std::chrono::minutes kAbandonedAfter{10};

size_t pixel_bytes(const Header& header) {
  return static_cast<size_t>(header.width) * static_cast<size_t>(header.height) * 3;
}

/// A file has its full size only once all before has been written: even after a power cut one that is too short is the
/// worst that there can be.
bool is_whole(std::span<const uint8_t> bytes, const Header& header) {
  return std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && header.width > 0 && header.height > 0 &&
         bytes.size() == sizeof header + pixel_bytes(header) + kTail;
}

/// No error if the file is written.
std::error_code write(const fs::path& path, const Header& header, const ImageView& image) {
  const char tail[kTail] = {};
  errno = 0;
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&header), sizeof header);
  out.write(reinterpret_cast<const char*>(image.pixels), static_cast<std::streamsize>(pixel_bytes(header)));
  out.write(tail, sizeof tail);
  out.close();
  if (out.good()) return {};
  return errno != 0 ? std::error_code(errno, std::generic_category()) : std::make_error_code(std::errc::io_error);
}

std::string in_gib(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (int64_t{1} << 30));
  return text;
}

/// Like no other's. A process's id is not enough: trainers live in namespaces of their own, where ids come again, and one
/// process may have several folders open.
std::string name_of_unfinished() {
  static const uint64_t process = (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  static std::atomic<uint64_t> files{0};
  return std::to_string(process) + "-" + std::to_string(files++) + ".tmp";
}

}  // namespace

PictureFolder::PictureFolder(fs::path folder, int64_t max_bytes, OnRefusal on_refusal)
    : folder_(std::move(folder)),
      max_bytes_(max_bytes),
      on_refusal_(std::move(on_refusal)),
      opened_(fs::file_time_type::clock::now() - kTick) {
  fs::create_directories(folder_);
  measure();
}

/// Two hundred and fifty-six folders: a file system is slow with a hundred thousand files in one.
fs::path PictureFolder::path_of(const std::string& key) const {
  return folder_ / key.substr(0, 2) / key.substr(2);
}

std::optional<PictureFolder::Stored> PictureFolder::find(const std::string& key) {
  const fs::path path = path_of(key);
  std::shared_ptr<const MappedFile> file;
  try {
    file = std::make_shared<const MappedFile>(path);
  } catch (const std::system_error&) {
    return std::nullopt;
  }
  Header header;
  if (file->bytes().size() < sizeof header) return std::nullopt;
  std::memcpy(&header, file->bytes().data(), sizeof header);
  if (!is_whole(file->bytes(), header)) return std::nullopt;
  const bool first_use = [&] {
    const std::lock_guard lock(mutex_);
    return used_.insert(key).second;
  }();
  std::error_code ignored;
  if (first_use) fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  const ImageView image{header.width, header.height, file->bytes().data() + sizeof header};
  return Stored{std::move(file), image, header.original_width, header.original_height};
}

bool PictureFolder::keep(const std::string& key, const ImageView& image, int original_width, int original_height) {
  const std::string refusal = take(key, image, original_width, original_height);
  if (refusal.empty()) return true;
  const bool is_first = [&] {
    const std::lock_guard lock(mutex_);
    return !std::exchange(refused_, true);
  }();
  if (is_first && on_refusal_) on_refusal_(folder_.string() + ": " + refusal);
  return false;
}

/// Keeps it, or says why not.
std::string PictureFolder::take(const std::string& key, const ImageView& image, int original_width, int original_height) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.width = image.width, header.height = image.height;
  header.original_width = original_width, header.original_height = original_height;
  const auto bytes = static_cast<int64_t>(sizeof header + pixel_bytes(header) + kTail);
  {
    const std::lock_guard lock(mutex_);
    if (std::string refusal = make_room(bytes); !refusal.empty()) return refusal;
    bytes_ += bytes;
    added_bytes_ += bytes;
    used_.insert(key);
  }
  const fs::path path = path_of(key), unfinished = folder_ / name_of_unfinished();
  std::error_code error, ignored;
  fs::create_directory(path.parent_path(), ignored);  // if it fails, so does the rename
  error = write(unfinished, header, image);
  if (!error) fs::rename(unfinished, path, error);
  if (!error) return {};
  fs::remove(unfinished, ignored);
  const std::lock_guard lock(mutex_);
  bytes_ -= bytes;
  return "cannot be written to: " + error.message();
}

/// Adds up what the folder holds, of all runs and ranks.
void PictureFolder::measure() {
  bytes_ = added_bytes_ = 0;
  unused_.clear();
  const auto abandoned = fs::file_time_type::clock::now() - kAbandonedAfter;
  std::error_code error;  // others may remove files meanwhile
  for (fs::recursive_directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code vanished;
    if (!entry->is_regular_file(vanished)) continue;
    const auto bytes = entry->file_size(vanished);
    const auto used = entry->last_write_time(vanished);
    if (vanished) continue;
    if (entry->path().extension() == ".tmp") {
      if (used < abandoned) fs::remove(entry->path(), vanished);
      continue;
    }
    bytes_ += static_cast<int64_t>(bytes);
    if (used < opened_) unused_.emplace(used, entry->path());
  }
}

/// Why `bytes` more may not be added; empty where they may. Drops what was not used for the longest time if that helps.
std::string PictureFolder::make_room(int64_t bytes) {
  std::error_code error;
  const auto space = fs::space(folder_, error);
  if (error) return "its free space cannot be told: " + error.message();
  if (space.available < kSpareBytes + static_cast<uintmax_t>(bytes))
    return "its disk has " + in_gib(static_cast<int64_t>(space.available)) + " free, of which " +
           in_gib(static_cast<int64_t>(kSpareBytes)) + " are left alone";
  // What other ranks add is seen only by measuring; a sixteenth of the limit between two times is close enough.
  if (added_bytes_ > max_bytes_ / 16) measure();
  while (bytes_ + bytes > max_bytes_)
    if (!evict_one()) return "it holds the " + in_gib(max_bytes_) + " that it may, of pictures in use";
  return {};
}

bool PictureFolder::evict_one() {
  while (!unused_.empty()) {
    const fs::path path = unused_.begin()->second;
    unused_.erase(unused_.begin());
    std::error_code error;
    const auto bytes = fs::file_size(path, error);
    if (error || fs::last_write_time(path, error) >= opened_) continue;  // gone, or in use since
    if (!fs::remove(path, error)) continue;
    bytes_ -= static_cast<int64_t>(bytes);
    return true;
  }
  return false;
}

fs::path default_picture_folder() {
  for (const auto& [variable, below] : {std::pair{"XDG_CACHE_HOME", "tenfold/pictures"}, {"HOME", ".cache/tenfold/pictures"}})
    if (const char* folder = std::getenv(variable); folder != nullptr && fs::path(folder).is_absolute())
      return fs::path(folder) / below;
  return {};
}

}  // namespace tenfold
