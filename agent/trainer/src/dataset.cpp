#include "dataset.h"

#include <algorithm>
#include <limits>
#include <system_error>

#include "dataset_storage.h"
#include "image.h"
#include "input_file.h"
#include "persistent_read.h"

namespace tenfold {

namespace {

constexpr size_t kProblemsShown = 20;
constexpr size_t kWarningsShown = 3;
// Rounding in label tools: 0.5 + 0.5000005.
constexpr float kCoordinateSlack = 1e-5f;
// Most headers end within this. Where a camera has put a preview or a colour profile before the size, more is read.
constexpr size_t kHeaderBytes = size_t{16} << 10;

struct FileContent {
  PixelBuffer memory;
  size_t size = 0;
};

/// The whole file. Throws std::system_error.
FileContent read_whole(const std::filesystem::path& path) {
  InputFile file(path);
  // A byte more than there should be: so something is read even of what has no size, and a folder is told from a file.
  PixelBuffer memory(file.size() + 1);
  const size_t size = file.read({memory.data(), memory.size()});
  return {std::move(memory), size};
}

/// Width 0 when the header cannot be read.
ImageInfo probe_bytes(std::span<const uint8_t> file) {
  try {
    return probe_image(file);
  } catch (const ImageError&) {
    return {};
  }
}

void read_image_file(const std::filesystem::path& path, Sample& sample) {
  std::shared_ptr<const FileContent> content;
  try {
    content = std::make_shared<const FileContent>(read_persistently([&] { return read_whole(path); }));
  } catch (const std::system_error& error) {
    if (!says_missing(error)) throw;
    sample.defect = "the file does not exist";
    return;
  }
  if (content->size == 0) {
    sample.defect = "the file is empty";
    return;
  }
  sample.bytes = {content->memory.data(), content->size};
  sample.keep_alive = std::move(content);
  const ImageInfo info = probe_bytes(sample.bytes);  // whoever decodes what cannot be read learns why
  sample.width = info.width;
  sample.height = info.height;
}

/// Of as little of the file as tells it. Width 0 when nothing does. Throws std::system_error.
ImageInfo probe_start(const std::filesystem::path& path) {
  InputFile file(path);
  std::vector<uint8_t> start;
  for (size_t wanted = kHeaderBytes;; wanted *= 4) {
    const size_t before = start.size();
    start.resize(wanted);
    start.resize(before + file.read(std::span(start).subspan(before)));
    const ImageInfo info = probe_bytes(start);
    if (info.width > 0 || start.size() < wanted) return info;  // no width: cut off perhaps
  }
}

/// Width 0 also when there is no such file.
ImageInfo probe_file(const std::filesystem::path& path) {
  try {
    return read_persistently([&] { return probe_start(path); });
  } catch (const std::system_error& error) {
    if (!says_missing(error)) throw;
    return {};
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

std::string Dataset::warning_summary() const {
  const auto& all = warnings();
  if (all.empty()) return {};
  std::string text = std::to_string(all.size()) + (all.size() == 1 ? " label was" : " labels were") + " left out: ";
  for (size_t i = 0; i < std::min(all.size(), kWarningsShown); ++i) text += (i == 0 ? "" : "; ") + all[i];
  if (all.size() > kWarningsShown) text += "; and " + std::to_string(all.size() - kWarningsShown) + " more";
  return text;
}

int64_t Dataset::label_count() const { return static_cast<int64_t>(storage_->labels.size()); }

Sample Dataset::sample(int64_t id) const {
  const SampleRecord& record = storage_->samples.at(static_cast<size_t>(id));
  Sample sample{id, record.name, record.width, record.height, labels(id), record.bytes, nullptr, {}};
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

std::optional<ImageInfo> Dataset::probe(int64_t id) const {
  const SampleRecord& record = storage_->samples.at(static_cast<size_t>(id));
  const auto readable = [](const ImageInfo& info) { return info.width > 0 ? std::optional(info) : std::nullopt; };
  {
    const std::lock_guard lock(storage_->probed_mutex);
    storage_->probed.resize(storage_->samples.size());
    if (const auto& known = storage_->probed[static_cast<size_t>(id)]) return readable(*known);
  }
  const ImageInfo info = record.file.empty() ? probe_bytes(record.bytes) : probe_file(record.file);
  const std::lock_guard lock(storage_->probed_mutex);
  storage_->probed[static_cast<size_t>(id)] = info;
  return readable(info);
}

double Dataset::shape(int64_t id) const {
  const SampleRecord& record = storage_->samples.at(static_cast<size_t>(id));
  if (record.width > 0) return static_cast<double>(record.height) / record.width;
  const auto info = probe(id);
  return info ? static_cast<double>(info->height) / info->width : std::numeric_limits<double>::infinity();
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
