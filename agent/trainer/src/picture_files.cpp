#include "picture_files.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "exit_code.h"
#include "glob_files.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

bool has_picture_extension(const fs::path& path) {
  static const std::set<std::string> kExtensions{".jpg", ".jpeg", ".png", ".webp"};
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return kExtensions.contains(extension);
}

/// Two files may differ in their extension alone: then it becomes part of the name.
std::vector<PictureFile> with_names(const std::set<fs::path>& paths, const fs::path& root) {
  std::vector<PictureFile> files;
  std::set<fs::path> taken;
  for (const fs::path& path : paths) {
    const fs::path inside = root.empty() ? path.filename() : path.lexically_relative(root);
    fs::path name = fs::path(inside).replace_extension();
    if (taken.contains(name)) name = inside;
    for (int i = 2; !taken.insert(name).second; ++i) name = inside.string() + "-" + std::to_string(i);
    files.push_back({path, name});
  }
  return files;
}

}  // namespace

std::vector<PictureFile> find_pictures(const std::string& source) {
  std::set<fs::path> paths;
  fs::path root;
  if (fs::is_directory(source)) {
    root = source;
    for (const auto& entry : fs::recursive_directory_iterator(source, fs::directory_options::follow_directory_symlink))
      if (entry.is_regular_file() && has_picture_extension(entry.path())) paths.insert(entry.path());
    if (paths.empty()) throw TrainerError(ExitCode::bad_data, source + ": the folder has no JPEG, PNG or WebP file");
  } else if (fs::exists(source)) {
    paths.insert(source);
  } else {
    for (const fs::path& path : glob_files(source))
      if (fs::is_regular_file(path) && has_picture_extension(path)) paths.insert(path);
    if (paths.empty())
      throw TrainerError(ExitCode::bad_data,
                         source + ": neither a file nor a folder, nor a pattern that a picture's name matches");
  }
  return with_names(paths, root);
}

}  // namespace tenfold
