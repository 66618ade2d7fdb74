#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "events.h"
#include "sha256.h"

namespace tenfold {

/// Throws std::system_error for errno, which says what was being done: `doing` ("writing") and the path.
[[noreturn]] void throw_io_error(const char* doing, const std::filesystem::path& path);

/// A file being written, hashed on the way. Throws std::system_error saying which file.
class DurableFile {
 public:
  explicit DurableFile(const std::filesystem::path& path);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(std::span<const uint8_t> bytes);
  void write(std::string_view text);
  /// Returns when the content is on the disk; `name` of the digest is the path's last part.
  FileDigest commit();

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  Sha256 hash_;
};

/// The whole content of a file. Throws std::system_error.
std::vector<uint8_t> read_file(const std::filesystem::path& path);

/// Whether both paths lead to one file that is there.
bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b);

/// Makes the folder that a file is to lie in. Throws std::system_error.
void make_folder_of(const std::filesystem::path& file);

/// Makes a rename or a new file in `folder` survive a power cut.
void sync_folder(const std::filesystem::path& folder);

/// Writes a file so that a reader sees the old or the new content, never a half: temporary name, fsync, rename.
/// Where that fails, as on a full disk, the temporary file is removed.
FileDigest replace_file(const std::filesystem::path& path, std::span<const uint8_t> bytes);
FileDigest replace_file(const std::filesystem::path& path, std::string_view text);

}  // namespace tenfold
