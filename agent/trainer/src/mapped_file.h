#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace tenfold {

/// A file mapped read-only into memory: its pages are the system's cache, shared by all ranks of a host.
class MappedFile {
 public:
  /// Throws std::system_error.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tenfold
