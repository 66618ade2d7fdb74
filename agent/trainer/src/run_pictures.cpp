#include "run_pictures.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "batch_picture.h"
#include "draw.h"
#include "file_io.h"
#include "image.h"
#include "postprocess.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kGridPictures = 16;
constexpr int64_t kSinglePictures = 8;

void write_jpeg(const fs::path& path, const Image& image) { replace_file(path, encode_jpeg(image)); }

/// `count` ids spread evenly over the data set: neighbours often look alike.
std::vector<int64_t> spread_ids(int64_t size, int64_t count) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < std::min(size, count); ++i) ids.push_back(i * size / std::min(size, count));
  return ids;
}

Batch read_batch(const Dataset& data, std::vector<int64_t> ids, int imgsz) {
  Loader loader(data, {.imgsz = imgsz, .threads = 1, .prefetch = 1, .cache_bytes = 0});
  loader.start(1, {std::move(ids)}, std::nullopt);
  return *loader.next();
}

/// What was found in one picture, to be drawn.
std::vector<DrawnBox> boxes_of(const Detections& found, const std::vector<std::string>& names) {
  std::vector<DrawnBox> boxes;
  const auto row = found.accessor<float, 2>();
  for (int64_t i = 0; i < found.size(0); ++i) {
    const auto cls = static_cast<int>(row[i][5]);
    boxes.push_back({row[i][0], row[i][1], row[i][2], row[i][3], cls, caption(names[static_cast<size_t>(cls)], row[i][4])});
  }
  return boxes;
}

/// The part of a letterboxed picture that is the picture, and its boxes moved along.
Image without_padding(const Image& square, const LetterboxInfo& fit, std::vector<DrawnBox>& boxes) {
  const int left = std::clamp(static_cast<int>(std::lround(fit.pad_x)), 0, square.width - 1);
  const int top = std::clamp(static_cast<int>(std::lround(fit.pad_y)), 0, square.height - 1);
  const int width = std::clamp(static_cast<int>(std::lround(static_cast<float>(fit.original_width) * fit.scale)), 1,
                               square.width - left);
  const int height = std::clamp(static_cast<int>(std::lround(static_cast<float>(fit.original_height) * fit.scale)), 1,
                                square.height - top);
  Image part(width, height);
  for (int y = 0; y < height; ++y) std::copy_n(square.row(top + y) + 3 * left, part.stride(), part.row(y));
  for (DrawnBox& box : boxes) {
    box.x1 -= static_cast<float>(left), box.x2 -= static_cast<float>(left);
    box.y1 -= static_cast<float>(top), box.y2 -= static_cast<float>(top);
  }
  return part;
}

std::string picture_name(int64_t number) {
  char name[32];
  std::snprintf(name, sizeof(name), "%02lld.jpg", static_cast<long long>(number));
  return name;
}

}  // namespace

void draw_training_batch(const fs::path& run_dir, const Batch& batch, const std::vector<std::string>& names) {
  if (batch.images.size(0) > 0) write_jpeg(run_dir / "train_batch0.jpg", batch_picture(batch, names));
}

void draw_validation(const fs::path& run_dir, Detector& model, const Dataset& data, int imgsz,
                     const ComputeDevice& device) {
  const at::NoGradGuard no_grad;
  const Batch batch = read_batch(data, spread_ids(data.size(), kGridPictures), imgsz);
  const std::vector<Detections> found =
      detect(model.forward_detecting(network_input(batch.images, device)), model.head_layout(), DetectOptions{});
  fs::create_directories(run_dir / "val_pred");
  write_jpeg(run_dir / "val_batch0_labels.jpg", batch_picture(batch, data.names(), kGridPictures));
  std::vector<Image> grid;
  for (size_t i = 0; i < found.size(); ++i) {
    const Image square = image_from_tensor(batch.images[static_cast<int64_t>(i)]);
    std::vector<DrawnBox> boxes = boxes_of(found[i], data.names());
    grid.push_back(draw_boxes(square, boxes));
    if (static_cast<int64_t>(i) >= kSinglePictures) continue;
    const Image part = without_padding(square, batch.letterbox[i], boxes);
    write_jpeg(run_dir / "val_pred" / picture_name(static_cast<int64_t>(i) + 1), draw_boxes(part, boxes));
  }
  write_jpeg(run_dir / "val_batch0_pred.jpg", picture_grid(grid, 480));
}

}  // namespace tenfold
