#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace tenfold {

/// A file that is no sound zip archive, or an entry that cannot be read.
class ZipError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A zip archive whose entries are stored without compression, as torch.save writes them. A compressed entry is refused:
/// so none can be larger than the file, whatever it declares.
class ZipArchive {
 public:
  /// Throws ZipError.
  explicit ZipArchive(const std::filesystem::path& file);
  ~ZipArchive();
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;

  /// Whether a file begins as zip archives do.
  static bool is_zip(const std::filesystem::path& file);

  std::vector<std::string> names() const;
  bool has(const std::string& name) const;
  /// Bytes of an entry. Throws ZipError.
  uint64_t size_of(const std::string& name) const;
  /// Reads an entry whole into memory of its size; its checksum is verified. Throws ZipError.
  void read(const std::string& name, void* to) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenfold
