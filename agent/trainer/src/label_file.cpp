#include "label_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "dataset_storage.h"
#include "text_lines.h"

namespace tenfold {

namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

constexpr std::string_view kFormats =
    "a line is \"class cx cy w h\" or, of an outline, \"class x1 y1 x2 y2 x3 y3 ...\"";

/// What a line of a label file says, or why it cannot be read.
struct LabelLine {
  std::vector<float> numbers;
  std::string defect;
};

/// In quotes, and short, whatever bytes it is made of.
std::string label_quotation(std::string_view text) {
  constexpr size_t kLongest = 60;
  const std::string kept(text.substr(0, kLongest));
  return nlohmann::json(kept).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         (text.size() > kLongest ? "..." : "");
}

/// Why a word is none of a line's numbers. `first`: it stands where the class does.
std::string word_defect(std::string_view word, bool first) {
  const std::string quoted_word = label_quotation(word);
  const auto commas = std::ranges::count(word, ',');
  if (commas > 1 || word.ends_with(',')) return "columns are separated by blanks, not by commas";
  if (commas == 1) return quoted_word + " is not a number; decimals are written with a point";
  if (first) return quoted_word + " is not a number; the class must be one, counted from 0 in the order of `names`";
  return quoted_word + " is not a number";
}

LabelLine numbers_of(std::string_view line) {
  LabelLine read;
  for (size_t begin = line.find_first_not_of(kBlanks); begin != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
    const std::string_view word = line.substr(begin, end - begin);
    float number = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error == std::errc::invalid_argument || rest != word.data() + word.size()) {
      read.defect = word_defect(word, read.numbers.empty());
      return read;
    }
    if (error != std::errc{} || !std::isfinite(number)) {
      read.defect = label_quotation(word) + (error != std::errc{} ? " is out of range" : " is not a finite number");
      return read;
    }
    read.numbers.push_back(number);
    begin = line.find_first_not_of(kBlanks, end);
  }
  return read;
}

/// Why numbers are not those of a box or an outline; empty where they are.
std::string columns_defect(const std::vector<float>& numbers) {
  const size_t count = numbers.size();
  if (count < 5 || count % 2 == 0) {
    std::string defect = "it has " + std::to_string(count) + (count == 1 ? " column" : " columns");
    if (count == 6 && numbers.back() >= 0 && numbers.back() <= 1)
      defect += ", of which the last looks like the confidence of a prediction: leave it out";
    return defect.append("; ").append(kFormats);
  }
  constexpr float kMaxClass = 1e6f;
  if (numbers[0] != std::trunc(numbers[0])) return "the class must be a whole number";
  return std::abs(numbers[0]) > kMaxClass ? "no class has such a number" : "";
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

/// The label of numbers without a defect.
Label label_of(const std::vector<float>& numbers) {
  const int cls = static_cast<int>(numbers[0]);
  if (numbers.size() > 5) return box_around(cls, numbers);
  return Label{cls, numbers[1], numbers[2], numbers[3], numbers[4]};
}

void read_line(std::string_view line, const std::string& where, size_t class_count, LabelFile& file) {
  LabelLine read = numbers_of(line);
  if (read.numbers.empty() && read.defect.empty()) return;
  if (read.defect.empty()) read.defect = columns_defect(read.numbers);
  if (!read.defect.empty()) {
    const size_t last = line.find_last_not_of(kBlanks);
    file.problems.push_back(where + label_quotation(line.substr(0, last + 1)) + ": " + read.defect);
    return;
  }
  const Label label = label_of(read.numbers);
  if (const std::string defect = label_defect(label, class_count); !defect.empty()) {
    file.problems.push_back(where + defect);
  } else if (label.w <= 0 || label.h <= 0) {
    file.warnings.push_back(where + "a box without area");
  } else if (std::ranges::find(file.labels, label) != file.labels.end()) {
    file.warnings.push_back(where + "the same box again");
  } else {
    file.labels.push_back(label);
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
  TextLines lines(in);
  for (std::string line; lines.next(line);)
    read_line(line, "line " + std::to_string(lines.number()) + ": ", class_count, file);
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
