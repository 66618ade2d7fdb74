#include "picture_files.h"

#include <set>

#include "counted.h"
#include "exit_code.h"
#include "files_below.h"
#include "glob_files.h"
#include "picture_formats.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

/// Sorts files into those that are read, and those to be told of.
class PictureCollector {
 public:
  void add(const fs::path& path) {
    const std::string format = format_by_name(path);
    if (is_format_read(format)) pictures_.insert(path);
    if (!is_format_left_out(format)) return;
    left_out_.insert(path);
    formats_.insert(format);
  }

  const std::set<fs::path>& pictures() const { return pictures_; }

  /// "3 files are of formats that are not read (bmp, tif): …", or nothing.
  std::string left_out() const {
    if (left_out_.empty()) return "";
    std::string formats;
    for (const std::string& format : formats_) formats += (formats.empty() ? "" : ", ") + format;
    const bool one = left_out_.size() == 1;
    return counted(static_cast<int64_t>(left_out_.size()), "file is", "files are") + " of " +
           (formats_.size() == 1 ? "a format that is" : "formats that are") + " not read (" + formats + "): convert " +
           (one ? "it" : "them") + " to JPEG, PNG or WebP";
  }

 private:
  std::set<fs::path> pictures_, left_out_;
  std::set<std::string> formats_;
};

/// The path of a picture below `root`; of one that is not below it, the last part.
fs::path inside_of(const fs::path& root, const fs::path& path) {
  const fs::path inside = (root.empty() ? path : path.lexically_relative(root)).lexically_normal();
  return inside.empty() || *inside.begin() == ".." ? path.filename() : inside;
}

std::vector<PictureFile> with_names(const std::set<fs::path>& paths, const fs::path& root) {
  std::vector<PictureFile> files;
  std::set<fs::path> taken;
  for (const fs::path& path : paths) {
    const fs::path inside = inside_of(root, path);
    fs::path name = fs::path(inside).replace_extension();
    if (taken.contains(name)) name = inside;
    for (int i = 2; !taken.insert(name).second; ++i) name = inside.string() + "-" + std::to_string(i);
    files.push_back({path, name});
  }
  return files;
}

/// The folder in which a pattern's first wildcard stands.
fs::path folder_of_pattern(const std::string& pattern) {
  const std::string fixed = pattern.substr(0, pattern.find_first_of("*?["));
  return fixed.substr(0, fixed.rfind('/') + 1);
}

/// Throws TrainerError(bad_data) where no picture was found.
FoundPictures found_below(const fs::path& root, const PictureCollector& found, const std::string& why_none) {
  const std::string left_out = found.left_out();
  if (found.pictures().empty())
    throw TrainerError(ExitCode::bad_data, why_none + (left_out.empty() ? "" : "; " + left_out));
  return {with_names(found.pictures(), root), left_out};
}

}  // namespace

FoundPictures find_pictures(const std::string& source) {
  PictureCollector found;
  if (fs::is_directory(source)) {
    for (const fs::path& file : files_below(source)) found.add(file);
    return found_below(source, found, source + ": the folder has no JPEG, PNG or WebP file");
  }
  if (fs::exists(source)) return {with_names({source}, fs::path(source).parent_path()), ""};
  for (const fs::path& path : glob_files(source))
    if (fs::is_regular_file(path)) found.add(path);
  return found_below(folder_of_pattern(source), found,
                     source + ": neither a file nor a folder, nor a pattern that a picture's name matches");
}

}  // namespace tenfold
