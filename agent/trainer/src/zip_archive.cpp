#include "zip_archive.h"

#include <zip.h>

#include <cstring>
#include <fstream>

namespace tenfold {

struct ZipArchive::Impl {
  std::string file;
  uint64_t file_bytes = 0;
  zip_t* archive = nullptr;

  [[noreturn]] void fail(const std::string& name, const std::string& problem) const {
    throw ZipError("entry " + name + ": " + problem);
  }

  struct Entry {
    zip_uint64_t index;
    uint64_t size;
  };

  Entry find(const std::string& name) const {
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat(archive, name.c_str(), ZIP_FL_ENC_RAW, &stat) != 0) fail(name, "is missing");
    constexpr zip_uint64_t kNeeded = ZIP_STAT_INDEX | ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD;
    if ((stat.valid & kNeeded) != kNeeded) fail(name, "says neither its size nor how it is stored");
    if (stat.comp_method != ZIP_CM_STORE) fail(name, "is compressed, which torch.save does not do");
    if (stat.size > file_bytes) fail(name, "declares more bytes than the file has");
    return {stat.index, stat.size};
  }
};

ZipArchive::ZipArchive(const std::filesystem::path& file) : impl_(std::make_unique<Impl>()) {
  impl_->file = file.string();
  impl_->file_bytes = std::filesystem::file_size(file);
  int code = 0;
  impl_->archive = zip_open(file.c_str(), ZIP_RDONLY, &code);
  if (impl_->archive != nullptr) return;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string message = zip_error_strerror(&error);
  zip_error_fini(&error);
  throw ZipError(message);
}

ZipArchive::~ZipArchive() {
  if (impl_->archive != nullptr) zip_discard(impl_->archive);
}

bool ZipArchive::is_zip(const std::filesystem::path& file) {
  char start[4] = {};
  std::ifstream(file, std::ios::binary).read(start, sizeof(start));
  return std::memcmp(start, "PK\x03\x04", sizeof(start)) == 0;
}

std::vector<std::string> ZipArchive::names() const {
  std::vector<std::string> names;
  const zip_int64_t count = zip_get_num_entries(impl_->archive, 0);
  for (zip_int64_t i = 0; i < count; ++i)
    if (const char* name = zip_get_name(impl_->archive, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW))
      names.emplace_back(name);
  return names;
}

bool ZipArchive::has(const std::string& name) const {
  return zip_name_locate(impl_->archive, name.c_str(), ZIP_FL_ENC_RAW) >= 0;
}

uint64_t ZipArchive::size_of(const std::string& name) const { return impl_->find(name).size; }

void ZipArchive::read(const std::string& name, void* to) const {
  const Impl::Entry entry = impl_->find(name);
  zip_file_t* file = zip_fopen_index(impl_->archive, entry.index, 0);
  if (file == nullptr) impl_->fail(name, zip_strerror(impl_->archive));
  uint64_t done = 0;
  while (done < entry.size) {
    const zip_int64_t count = zip_fread(file, static_cast<char*>(to) + done, entry.size - done);
    if (count <= 0) break;
    done += static_cast<uint64_t>(count);
  }
  // The checksum is compared when the end is reached.
  char beyond = 0;
  const bool ended = done == entry.size && zip_fread(file, &beyond, 1) == 0;
  const bool closed = zip_fclose(file) == 0;
  if (!ended || !closed) impl_->fail(name, "is damaged (its bytes do not match their checksum, or are missing)");
}

}  // namespace tenfold
