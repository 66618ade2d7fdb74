#include "file_io.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input_file.h"

namespace tenfold {
namespace {

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

void throw_io_error(const char* doing, const std::filesystem::path& path) {
  throw std::system_error(errno, std::generic_category(), std::string(doing) + " " + path.string());
}

DurableFile::DurableFile(const std::filesystem::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) throw_io_error("creating", path_);
}

DurableFile::~DurableFile() {
  if (fd_ >= 0) ::close(fd_);
}

void DurableFile::write(std::span<const uint8_t> bytes) {
  hash_.update(bytes);
  bytes_ += static_cast<int64_t>(bytes.size());
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_io_error("writing", path_);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void DurableFile::write(std::string_view text) { write(bytes_of(text)); }

FileDigest DurableFile::commit() {
  if (::fsync(fd_) != 0) throw_io_error("writing", path_);
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) throw_io_error("writing", path_);
  return {path_.filename().string(), bytes_, hash_.hex()};
}

InputFile::InputFile(std::filesystem::path path)
    : path_(std::move(path)), fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0) throw_io_error("opening", path_);
}

InputFile::~InputFile() { ::close(fd_); }

size_t InputFile::size() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) throw_io_error("reading the size of", path_);
  return static_cast<size_t>(status.st_size);
}

size_t InputFile::read(std::span<uint8_t> room) {
  size_t size = 0;
  while (size < room.size()) {
    const ssize_t count = ::read(fd_, room.data() + size, room.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_io_error("reading", path_);
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  return size;
}

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  InputFile file(path);
  std::vector<uint8_t> bytes(file.size());
  bytes.resize(file.read(bytes));
  return bytes;
}

bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code no_such_file;
  return std::filesystem::equivalent(a, b, no_such_file);
}

void make_folder_of(const std::filesystem::path& file) {
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path());
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw_io_error("opening", folder);
  const int result = ::fsync(fd);
  ::close(fd);
  if (result != 0) throw_io_error("writing", folder);
}

FileDigest replace_file(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  DurableFile file(temporary);
  try {
    file.write(bytes);
    FileDigest digest = file.commit();
    std::filesystem::rename(temporary, path);
    digest.name = path.filename().string();
    return digest;
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

FileDigest replace_file(const std::filesystem::path& path, std::string_view text) {
  return replace_file(path, bytes_of(text));
}

}  // namespace tenfold
