#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "predict.h"

namespace tenfold {

/// The picture with a box, class and score for each prediction, written as a JPEG: at its own size, or as large as a JPEG
/// can be.
void write_drawn_picture(const std::filesystem::path& file, const Image& image,
                         const std::vector<Prediction>& predictions, const std::vector<std::string>& names);

/// A line a prediction as in YOLO label files: class, centre x, centre y, width, height, in shares of the picture; the
/// score as well where `with_scores`.
std::string yolo_lines(const std::vector<Prediction>& predictions, int width, int height, bool with_scores);

/// {"file", "width", "height", "detections": [{"class", "name", "score", "box": [x1, y1, x2, y2]}]}, or "file" and
/// "error" where it could not be read.
nlohmann::ordered_json prediction_json(const ReadPicture& picture, const std::vector<Prediction>& predictions,
                                       const std::vector<std::string>& names);

/// "2 red, 1 green", or "nothing".
std::string prediction_summary(const std::vector<Prediction>& predictions, const std::vector<std::string>& names);

}  // namespace tenfold
