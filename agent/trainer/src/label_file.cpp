#include "label_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <string_view>

#include "dataset_storage.h"

namespace tenfold {

namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

/// The numbers of a line; nullopt when something in it is no finite number.
std::optional<std::vector<float>> numbers_of(std::string_view line) {
  std::vector<float> numbers;
  for (size_t begin = line.find_first_not_of(kBlanks); begin != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
    float number = 0;
    const auto [rest, error] = std::from_chars(line.data() + begin, line.data() + end, number);
    if (error != std::errc{} || rest != line.data() + end || !std::isfinite(number)) return std::nullopt;
    numbers.push_back(number);
    begin = line.find_first_not_of(kBlanks, end);
  }
  return numbers;
}

/// The box around an outline x1 y1 x2 y2 …, which starts at `numbers[1]`.
Label box_around(int cls, const std::vector<float>& numbers) {
  float left = numbers[1], right = left, top = numbers[2], bottom = top;
  for (size_t i = 1; i + 1 < numbers.size(); i += 2) {
    left = std::min(left, numbers[i]);
    right = std::max(right, numbers[i]);
    top = std::min(top, numbers[i + 1]);
    bottom = std::max(bottom, numbers[i + 1]);
  }
  return {cls, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top};
}

std::optional<Label> label_of(const std::vector<float>& numbers) {
  const bool is_box = numbers.size() == 5, is_outline = numbers.size() >= 7 && numbers.size() % 2 == 1;
  if (!is_box && !is_outline) return std::nullopt;
  constexpr float kMaxClass = 1e6f;
  if (numbers[0] != std::trunc(numbers[0]) || std::abs(numbers[0]) > kMaxClass) return std::nullopt;
  const int cls = static_cast<int>(numbers[0]);
  if (is_outline) return box_around(cls, numbers);
  return Label{cls, numbers[1], numbers[2], numbers[3], numbers[4]};
}

void read_line(std::string_view line, const std::string& where, size_t class_count, LabelFile& file) {
  const auto numbers = numbers_of(line);
  if (numbers && numbers->empty()) return;
  const auto label = numbers ? label_of(*numbers) : std::nullopt;
  if (!label) {
    file.problems.push_back(where + "not \"class cx cy w h\"");
  } else if (const std::string defect = label_defect(*label, class_count); !defect.empty()) {
    file.problems.push_back(where + defect);
  } else if (label->w <= 0 || label->h <= 0) {
    file.warnings.push_back(where + "a box without area");
  } else if (std::ranges::find(file.labels, *label) != file.labels.end()) {
    file.warnings.push_back(where + "the same box again");
  } else {
    file.labels.push_back(*label);
  }
}

}  // namespace

LabelFile read_label_file(const std::filesystem::path& path, size_t class_count) {
  LabelFile file;
  std::ifstream in(path);
  if (!in) {
    if (std::filesystem::exists(path)) file.problems.push_back("cannot be read");
    return file;
  }
  std::string line;
  for (int number = 1; std::getline(in, line); ++number)
    read_line(line, "line " + std::to_string(number) + ": ", class_count, file);
  return file;
}

std::filesystem::path label_path_of(const std::filesystem::path& image) {
  const std::vector<std::filesystem::path> parts(image.begin(), image.end());
  const auto last = std::find(parts.rbegin(), parts.rend(), "images");
  std::filesystem::path labels;
  for (auto part = parts.begin(); part != parts.end(); ++part)
    labels /= last != parts.rend() && part == last.base() - 1 ? std::filesystem::path("labels") : *part;
  return labels.replace_extension(".txt");
}

}  // namespace tenfold
