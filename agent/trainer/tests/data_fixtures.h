#pragma once

// Small data sets and pictures for the tests of the data path.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "dataset.h"
#include "image.h"

namespace tenfold::testing {

/// An empty folder of its own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Has the process run in a folder for as long as it lives.
class WorkingFolder {
 public:
  explicit WorkingFolder(const std::filesystem::path& folder) { std::filesystem::current_path(folder); }
  ~WorkingFolder() { std::filesystem::current_path(before_); }
  WorkingFolder(const WorkingFolder&) = delete;
  WorkingFolder& operator=(const WorkingFolder&) = delete;

 private:
  std::filesystem::path before_ = std::filesystem::current_path();
};

/// Writes a file, making its folders.
void write_file(const std::filesystem::path& path, std::span<const uint8_t> content);
void write_file(const std::filesystem::path& path, const std::string& content);
std::vector<uint8_t> read_file(const std::filesystem::path& path);

/// The colour that objects of a class have in scene().
Rgb object_colour(int cls);

/// Whether a pixel shows an object of class `cls` rather than background or another class.
bool shows(int cls, Rgb pixel);

/// Dark grey background with one filled rectangle a label, in the class's colour.
Image scene(int width, int height, const std::vector<Label>& labels);

/// A sample to be written into a shard.
struct ShardSample {
  std::string name;
  int width = 0, height = 0;
  std::vector<uint8_t> file;
  std::vector<Label> labels;
};

ShardSample scene_sample(const std::string& name, int width, int height, const std::vector<Label>& labels);

/// Content of a shard file whose first sample has the id `first_id`.
std::vector<uint8_t> shard_of(const std::vector<ShardSample>& samples, int64_t first_id);

/// One split's shards.
struct ShardSplit {
  std::string name;
  std::vector<std::vector<ShardSample>> shards;
};

/// Writes shard files named by digest and `index.json` into `folder`.
void write_shards(const std::filesystem::path& folder, const std::vector<std::string>& names,
                  const std::vector<ShardSplit>& splits);

/// A data set of `count` scenes of various shapes; sample i shows one object of class i % 6.
Dataset scenes_dataset(const std::filesystem::path& folder, int count);

/// Whether `part` occurs in `text`.
inline bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace tenfold::testing
