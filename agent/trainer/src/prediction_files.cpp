#include "prediction_files.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "draw.h"
#include "file_io.h"
#include "shown_name.h"

namespace tenfold {
namespace {

std::string name_of(const std::vector<std::string>& names, int cls) {
  const auto index = static_cast<size_t>(cls);
  return index < names.size() ? names[index] : std::to_string(cls);
}

/// A float's shortest text as a double: 0.9, not 0.8999999761581421.
double short_double(float value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", static_cast<double>(value));
  return std::strtod(text, nullptr);
}

/// Boxes in pixels of the picture multiplied by `scale_x` and `scale_y`.
std::vector<DrawnBox> drawn_boxes(const std::vector<Prediction>& predictions, const std::vector<std::string>& names,
                                  float scale_x, float scale_y) {
  std::vector<DrawnBox> boxes;
  for (const Prediction& p : predictions)
    boxes.push_back({p.x1 * scale_x, p.y1 * scale_y, p.x2 * scale_x, p.y2 * scale_y, p.cls,
                     caption(name_on_picture(names, p.cls), p.score)});
  return boxes;
}

Image drawn_picture(const Image& image, const std::vector<Prediction>& predictions,
                    const std::vector<std::string>& names) {
  constexpr int kOwnSize = 1;
  if (std::max(image.width, image.height) <= kMaxJpegSide)
    return draw_boxes(image, drawn_boxes(predictions, names, 1, 1), kOwnSize);
  const FittedSize size = fit_into_square(image.width, image.height, kMaxJpegSide);
  const float scale_x = static_cast<float>(size.width) / static_cast<float>(image.width);
  const float scale_y = static_cast<float>(size.height) / static_cast<float>(image.height);
  return draw_boxes(resize(image, size.width, size.height), drawn_boxes(predictions, names, scale_x, scale_y), kOwnSize);
}

}  // namespace

void write_drawn_picture(const std::filesystem::path& file, const Image& image,
                         const std::vector<Prediction>& predictions, const std::vector<std::string>& names) {
  std::filesystem::create_directories(file.parent_path());
  replace_file(file, encode_jpeg(drawn_picture(image, predictions, names)));
}

std::string yolo_lines(const std::vector<Prediction>& predictions, int width, int height, bool with_scores) {
  std::string lines;
  for (const Prediction& p : predictions) {
    char line[160];
    std::snprintf(line, sizeof(line), "%d %.6f %.6f %.6f %.6f", p.cls, static_cast<double>(p.x1 + p.x2) / 2 / width,
                  static_cast<double>(p.y1 + p.y2) / 2 / height, static_cast<double>(p.x2 - p.x1) / width,
                  static_cast<double>(p.y2 - p.y1) / height);
    lines += line;
    if (with_scores) {
      std::snprintf(line, sizeof(line), " %.6f", static_cast<double>(p.score));
      lines += line;
    }
    lines += '\n';
  }
  return lines;
}

nlohmann::ordered_json prediction_json(const ReadPicture& picture, const std::vector<Prediction>& predictions,
                                       const std::vector<std::string>& names) {
  nlohmann::ordered_json json = {{"file", picture.file->path.string()}};
  if (!picture.defect.empty()) {
    json["error"] = picture.defect;
    return json;
  }
  json["width"] = picture.fit.width;
  json["height"] = picture.fit.height;
  json["detections"] = nlohmann::ordered_json::array();
  for (const Prediction& p : predictions)
    json["detections"].push_back(
        {{"class", p.cls},
         {"name", name_of(names, p.cls)},
         {"score", short_double(p.score)},
         {"box", {short_double(p.x1), short_double(p.y1), short_double(p.x2), short_double(p.y2)}}});
  return json;
}

std::string prediction_summary(const std::vector<Prediction>& predictions, const std::vector<std::string>& names) {
  std::map<int, int> counts;
  for (const Prediction& p : predictions) ++counts[p.cls];
  std::string text;
  for (const auto& [cls, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name_in_line(names, cls);
  return text.empty() ? "nothing" : text;
}

}  // namespace tenfold
