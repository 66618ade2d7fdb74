#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "dataset.h"

namespace tenfold {

/// What a YOLO label file says.
struct LabelFile {
  std::vector<Label> labels;
  std::vector<std::string> problems;  // each begins with the line's number, and quotes what cannot be read
  std::vector<std::string> warnings;  // lines left out, and why
};

/// Reads lines of `class cx cy w h`. A longer line, `class x1 y1 x2 y2 x3 y3 …`, is an outline and becomes the box
/// around it. A file that does not exist, or is empty, has no labels: background. A byte-order mark is skipped.
LabelFile read_label_file(const std::filesystem::path& path, size_t class_count);

/// Where the labels of an image are: `labels` in place of the path's last `images` folder, else beside the image; .txt.
std::filesystem::path label_path_of(const std::filesystem::path& image);

}  // namespace tenfold
