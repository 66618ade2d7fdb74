#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "descriptor.h"
#include "file_io.h"

namespace tenfold {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) throw_io_error("opening", path);
  struct stat status;
  if (::fstat(file.fd(), &status) != 0) throw_io_error("reading the size of", path);
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;  // an empty file cannot be mapped
  void* const mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (mapped == MAP_FAILED) throw_io_error("mapping", path);
  data_ = static_cast<const uint8_t*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace tenfold
