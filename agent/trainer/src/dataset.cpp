#include "dataset.h"

#include <fstream>

#include "dataset_storage.h"
#include "image.h"

namespace tenfold {

namespace {

constexpr size_t kProblemsShown = 20;
// Rounding in label tools: 0.5 + 0.5000005.
constexpr float kCoordinateSlack = 1e-5f;

/// The whole file; empty when it cannot be read, which a decoder reports with the sample's name.
PixelBuffer read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = in ? static_cast<std::streamoff>(in.tellg()) : -1;
  if (size <= 0) return {};
  PixelBuffer content(static_cast<size_t>(size));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(content.data()), size);
  return in ? std::move(content) : PixelBuffer{};
}

void read_image_file(const std::filesystem::path& path, Sample& sample) {
  auto content = std::make_shared<const PixelBuffer>(read_file(path));
  sample.bytes = {content->data(), content->size()};
  sample.keep_alive = std::move(content);
  try {
    const ImageInfo info = probe_image(sample.bytes);
    sample.width = info.width;
    sample.height = info.height;
  } catch (const ImageError&) {
    sample.width = sample.height = 0;  // whoever decodes it learns why
  }
}

}  // namespace

int64_t Dataset::size() const {
  return static_cast<int64_t>(storage_->samples.size());
}

const std::vector<std::string>& Dataset::names() const {
  return storage_->names;
}

const std::vector<std::string>& Dataset::warnings() const {
  return storage_->warnings;
}

Sample Dataset::sample(int64_t id) const {
  const SampleRecord& record = storage_->samples.at(static_cast<size_t>(id));
  Sample sample{id, record.name, record.width, record.height, labels(id), record.bytes, nullptr};
  if (!record.file.empty()) read_image_file(record.file, sample);
  return sample;
}

std::span<const Label> Dataset::labels(int64_t id) const {
  const SampleRecord& record = storage_->samples.at(static_cast<size_t>(id));
  return std::span(storage_->labels).subspan(record.first_label, record.label_count);
}

const std::string& Dataset::name(int64_t id) const {
  return storage_->samples.at(static_cast<size_t>(id)).name;
}

void Dataset::Storage::add(SampleRecord record, const std::vector<Label>& its_labels) {
  record.first_label = labels.size();
  record.label_count = its_labels.size();
  labels.insert(labels.end(), its_labels.begin(), its_labels.end());
  samples.push_back(std::move(record));
}

std::string label_defect(const Label& label, size_t class_count) {
  if (label.cls < 0 || static_cast<size_t>(label.cls) >= class_count)
    return "class " + std::to_string(label.cls) + " is not one of the " + std::to_string(class_count) +
           " named classes";
  for (const float value : {label.cx, label.cy, label.w, label.h})
    if (!(value >= -kCoordinateSlack && value <= 1 + kCoordinateSlack))
      return "coordinate " + std::to_string(value) + " is not within 0..1 (boxes are normalised to the image)";
  return {};
}

void DataProblems::add(std::string problem) {
  ++count_;
  if (first_.size() < kProblemsShown) first_.push_back(std::move(problem));
}

void DataProblems::throw_if_any() const {
  if (count_ == 0) return;
  std::string message = where_ + ":";
  for (const std::string& problem : first_) message += "\n  " + problem;
  if (count_ > first_.size()) message += "\n  and " + std::to_string(count_ - first_.size()) + " more";
  throw DataError(message);
}

}  // namespace tenfold
