#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace tenfold {

/// A file that is open for reading. All of it throws std::system_error, which names the file.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// In bytes, as the file system says; 0 of what has no size.
  size_t size() const;
  /// Reads what comes next: as many bytes as there is room for, fewer only at the file's end. Returns their number.
  size_t read(std::span<uint8_t> room);

 private:
  std::filesystem::path path_;
  int fd_;
};

}  // namespace tenfold
