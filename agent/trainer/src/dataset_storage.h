#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "dataset.h"
#include "mapped_file.h"

namespace tenfold {

/// Where one sample's image and labels are. The image lies in a mapped shard (`bytes`) or in a file of its own.
struct SampleRecord {
  std::string name;
  int width = 0, height = 0;  // shards only
  std::span<const uint8_t> bytes;
  std::filesystem::path file;
  size_t first_label = 0, label_count = 0;
};

struct Dataset::Storage {
  std::vector<std::string> names;
  std::vector<std::string> warnings;
  std::vector<SampleRecord> samples;
  std::vector<Label> labels;  // of all samples, one after the other
  std::vector<std::unique_ptr<MappedFile>> shards;

  mutable std::mutex probed_mutex;
  mutable std::vector<std::optional<ImageInfo>> probed;  // by id, as far as asked for; {0, 0}: not readable

  /// Adds a sample whose labels come next.
  void add(SampleRecord record, const std::vector<Label>& its_labels);
};

/// Why `label` cannot be used with `class_count` classes; empty when it can.
std::string label_defect(const Label& label, size_t class_count);

/// Collects what is wrong, so that a user sees all of it at once.
class DataProblems {
 public:
  explicit DataProblems(std::string where) : where_(std::move(where)) {}
  void add(std::string problem);
  /// Throws DataError with the first ones and how many more there are.
  void throw_if_any() const;

 private:
  std::string where_;
  std::vector<std::string> first_;
  size_t count_ = 0;
};

}  // namespace tenfold
