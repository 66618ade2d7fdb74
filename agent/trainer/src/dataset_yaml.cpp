// A YOLO data.yaml and the folders it names.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <set>

#include "dataset_storage.h"
#include "files_below.h"
#include "glob_files.h"
#include "label_file.h"
#include "picture_formats.h"
#include "text_lines.h"

namespace tenfold {

namespace {

namespace fs = std::filesystem;

std::vector<std::string> read_names(const YAML::Node& yaml) {
  const YAML::Node names = yaml["names"];
  if (names && names.IsSequence()) return names.as<std::vector<std::string>>();
  if (names && names.IsMap()) {
    std::vector<std::string> by_class(names.size());
    for (const auto& entry : names) {
      const int cls = entry.first.as<int>();
      if (cls < 0 || static_cast<size_t>(cls) >= by_class.size())
        throw DataError("names: classes must be numbered 0.." + std::to_string(by_class.size() - 1) + ", found " +
                        std::to_string(cls));
      by_class[static_cast<size_t>(cls)] = entry.second.as<std::string>();
    }
    return by_class;
  }
  if (names) throw DataError("names: neither a list nor a map");
  std::vector<std::string> numbered;
  if (yaml["nc"])
    for (int cls = 0; cls < yaml["nc"].as<int>(); ++cls) numbered.push_back("class" + std::to_string(cls));
  return numbered;
}

std::vector<std::string> checked_names(const YAML::Node& yaml) {
  auto names = read_names(yaml);
  if (names.empty()) throw DataError("names: no class is named");
  if (yaml["nc"] && yaml["nc"].as<size_t>() != names.size())
    throw DataError("nc is " + yaml["nc"].as<std::string>() + ", but " + std::to_string(names.size()) +
                    " names are given");
  return names;
}

/// The folder that the splits are relative to. A relative `path` is looked for beside the yaml, then where we run.
fs::path root_of(const YAML::Node& yaml, const fs::path& yaml_dir) {
  if (!yaml["path"] || yaml["path"].IsNull()) return yaml_dir;
  const fs::path path = yaml["path"].as<std::string>();
  for (const fs::path& root : {yaml_dir / path, fs::absolute(path)})
    if (fs::is_directory(root)) return root;
  throw DataError("path: " + path.string() + " is no folder, neither beside the yaml nor in " +
                  fs::current_path().string());
}

bool is_pattern(const std::string& text) {
  return text.find_first_of("*?[") != std::string::npos;
}

/// What an entry of the yaml, or a line of a list, names: found beside the first of `folders` that has it.
std::vector<fs::path> find(const std::string& entry, const std::vector<fs::path>& folders) {
  for (const fs::path& folder : folders) {
    const fs::path path = folder / entry;  // an absolute entry stays as it is
    if (fs::exists(path)) return {path};
    if (is_pattern(entry))
      if (auto matches = glob_files(path.string()); !matches.empty()) return matches;
  }
  return {};
}

constexpr std::string_view kAbove = "../";

/// Gathers the image files of a split.
class ImageCollector {
 public:
  ImageCollector(fs::path root, fs::path yaml_dir, DataProblems& problems)
      : root_(std::move(root)), yaml_dir_(std::move(yaml_dir)), problems_(problems) {}

  void add_entry(const std::string& entry) {
    auto found = find(entry, {root_, yaml_dir_});
    // Exports of some labelling tools say ../train/images where train/images lies beside their data.yaml.
    if (found.empty() && entry.starts_with(kAbove)) found = find(entry.substr(kAbove.size()), {root_, yaml_dir_});
    if (found.empty()) problems_.add(entry + ": not found in " + root_.string());
    for (const fs::path& path : found) add_path(path);
  }

  /// In the order of their names, so that ids do not depend on how the folder was filled.
  const std::set<fs::path>& images() const { return images_; }

 private:
  void add_path(const fs::path& path) {
    if (fs::is_directory(path)) {
      for (const fs::path& file : files_below(path)) add_if_image(file);
    } else if (format_by_name(path) == "txt") {
      add_list(path);
    } else {
      add_if_image(path);
    }
  }

  void add_list(const fs::path& list) {
    constexpr const char* kBlanks = " \t\r";
    std::ifstream in(list);
    TextLines lines(in);
    for (std::string line; lines.next(line);) {
      line.erase(0, line.find_first_not_of(kBlanks));
      line.erase(line.find_last_not_of(kBlanks) + 1);
      if (line.empty()) continue;
      const auto found = find(line, {list.parent_path(), root_, fs::current_path()});
      if (found.empty()) problems_.add(list.string() + ": names " + line + ", which does not exist");
      for (const fs::path& path : found)
        if (!add_if_image(path)) problems_.add(list.string() + ": names " + line + ", which is no JPEG, PNG or WebP file");
    }
  }

  /// Whether it is one; that of a format that is not read is a problem.
  bool add_if_image(const fs::path& path) {
    const std::string format = format_by_name(path);
    if (is_format_read(format)) images_.insert(path.lexically_normal());
    if (is_format_left_out(format)) problems_.add(path.string() + ": this format is not read; convert it to JPEG, PNG or WebP");
    return is_format_read(format) || is_format_left_out(format);
  }

  fs::path root_, yaml_dir_;
  DataProblems& problems_;
  std::set<fs::path> images_;
};

std::vector<std::string> entries_of(const YAML::Node& yaml, const std::string& split) {
  const YAML::Node entry = yaml[split];
  if (!entry || entry.IsNull()) throw DataError("has no \"" + split + "\"");
  if (entry.IsSequence()) return entry.as<std::vector<std::string>>();
  return {entry.as<std::string>()};
}

void add_image(const fs::path& image, const fs::path& root, Dataset::Storage& storage, DataProblems& problems) {
  const fs::path label_path = label_path_of(image);
  const LabelFile file = read_label_file(label_path, storage.names.size());
  for (const std::string& problem : file.problems) problems.add(label_path.string() + ": " + problem);
  for (const std::string& warning : file.warnings) storage.warnings.push_back(label_path.string() + ": " + warning);
  SampleRecord record;
  const fs::path inside = image.lexically_relative(root.lexically_normal());
  record.name = inside.empty() || *inside.begin() == ".." ? image.string() : inside.string();
  record.file = image;
  storage.add(std::move(record), file.labels);
}

/// A folder stands for the data.yaml in it.
fs::path yaml_file_of(const fs::path& given) {
  std::error_code ignored;
  if (!fs::is_directory(given, ignored)) return given;
  const fs::path inside = given / "data.yaml";
  if (!fs::exists(inside, ignored))
    throw DataError(given.string() + ": is a folder without a data.yaml; name the data set's yaml");
  return inside;
}

void read_yaml(const fs::path& path, const std::string& split, Dataset::Storage& storage) {
  if (!fs::exists(path)) throw DataError("does not exist");
  const YAML::Node yaml = YAML::LoadFile(path.string());
  if (!yaml.IsMap()) throw DataError("is not a map of keys");
  storage.names = checked_names(yaml);
  const fs::path yaml_dir = fs::absolute(path).parent_path();
  const fs::path root = root_of(yaml, yaml_dir);

  DataProblems problems("split \"" + split + "\"");
  ImageCollector collector(root, yaml_dir, problems);
  for (const std::string& entry : entries_of(yaml, split)) collector.add_entry(entry);
  for (const fs::path& image : collector.images()) add_image(image, root, storage, problems);
  problems.throw_if_any();
  if (storage.samples.empty()) throw DataError("split \"" + split + "\" has no images");
}

}  // namespace

Dataset Dataset::open_yaml(const std::filesystem::path& data_yaml, const std::string& split) {
  auto storage = std::make_shared<Storage>();
  const fs::path file = yaml_file_of(data_yaml);
  const std::string where = file.string() + ": ";
  try {
    read_yaml(file, split, *storage);
  } catch (const YAML::Exception& error) {
    throw DataError(where + error.what());
  } catch (const fs::filesystem_error& error) {
    throw DataError(where + error.what());
  } catch (const DataError& error) {
    throw DataError(where + error.what());
  }
  return Dataset(std::move(storage));
}

}  // namespace tenfold
