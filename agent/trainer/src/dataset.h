#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "image.h"

namespace tenfold {

/// A data set that cannot be used as it is (exit code `data`). The message names the file and says what is wrong.
class DataError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One object: class and box, normalised to the image as in YOLO text files.
struct Label {
  int cls = 0;
  float cx = 0, cy = 0, w = 0, h = 0;

  bool operator==(const Label&) const = default;
};

/// One image file with its labels. `labels` live as long as the data set, `bytes` as long as `keep_alive` or the data
/// set. An image file of a YOLO folder that has vanished since gives empty `bytes` and a `defect`: it is treated like any
/// other corrupt image.
struct Sample {
  int64_t id = 0;
  std::string name;
  int width = 0;  // pixels, of the picture as shown; 0 when the header cannot be read
  int height = 0;
  std::span<const Label> labels;
  std::span<const uint8_t> bytes;
  std::shared_ptr<const void> keep_alive;
  std::string defect;  // why there are no bytes: the file does not exist, or is empty; else empty
};

/// One split of a data set, read-only. Const calls are safe from several threads at once. Copies share the data.
class Dataset {
 public:
  /// Tenfold's shards (format in test/fixtures/trainer-contract/README.md). Every header is read and checked here;
  /// with `verify` the SHA-256 of every shard as well. Throws DataError.
  static Dataset open_shards(const std::filesystem::path& index, const std::filesystem::path& dir,
                             const std::string& split, bool verify = false);

  /// A YOLO data.yaml, or the folder that holds it: `path`, `train`/`val`/`test` and `names` (list or map, `nc` optional),
  /// resolved against the yaml's own folder first. Label files are read and checked here: all problems come in one
  /// DataError.
  static Dataset open_yaml(const std::filesystem::path& data_yaml, const std::string& split);

  int64_t size() const;
  /// Of all images together.
  int64_t label_count() const;
  /// Class names, by class index.
  const std::vector<std::string>& names() const;
  /// Throws std::out_of_range for an id that is not in 0..size()-1. An image file that exists and cannot be read is tried
  /// again for some seconds, then std::system_error is thrown, which names it: here, and by probe() and shape().
  Sample sample(int64_t id) const;
  /// The labels, or the name, alone, without touching the image file.
  std::span<const Label> labels(int64_t id) const;
  const std::string& name(int64_t id) const;
  /// What the image file's header says; nullopt when it cannot be read. The header alone is read, and once for all copies.
  std::optional<ImageInfo> probe(int64_t id) const;
  /// Height / width of the picture as shown: as the shard says it, else as probe() does. Infinite when it is not known.
  double shape(int64_t id) const;
  /// Lines of label files that were left out, each with its file and why: double labels, and boxes without area.
  const std::vector<std::string>& warnings() const;
  /// How many there are and the first of them, in one line for people to read; empty where there are none.
  std::string warning_summary() const;

  struct Storage;  // shards or files; private to the implementation

 private:
  explicit Dataset(std::shared_ptr<const Storage> storage) : storage_(std::move(storage)) {}
  std::shared_ptr<const Storage> storage_;
};

}  // namespace tenfold
