#include "picture_formats.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace tenfold {

std::string format_by_name(const std::filesystem::path& file) {
  std::string extension = file.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension.empty() ? extension : extension.substr(1);
}

bool is_format_read(const std::string& format) {
  static const std::set<std::string> kFormats{"jpg", "jpeg", "png", "webp"};
  return kFormats.contains(format);
}

bool is_format_left_out(const std::string& format) {
  static const std::set<std::string> kFormats{"bmp",  "tif", "tiff", "gif", "avif", "heic", "heif", "jxl", "jp2", "j2k",
                                              "jfif", "mpo", "ppm",  "pgm", "pbm",  "pnm",  "pfm",  "tga", "psd", "exr",
                                              "hdr",  "dng", "cr2",  "cr3", "nef",  "arw",  "raf",  "orf", "rw2"};
  return kFormats.contains(format);
}

}  // namespace tenfold
