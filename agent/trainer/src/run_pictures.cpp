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
#include "shown_name.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBatches = 3;
constexpr int64_t kGridPictures = 16;  // a batch
constexpr int kGridCell = 480;         // pixels
constexpr int64_t kSinglePictures = 8;

void write_jpeg(const fs::path& path, const Image& image) { replace_file(path, encode_jpeg(image)); }

/// Up to kBatches lists of up to kGridPictures ids. Together and each for itself they are spread evenly over the data set:
/// neighbours often look alike.
std::vector<std::vector<int64_t>> spread_batches(int64_t size) {
  const int64_t count = std::min(size, kBatches * kGridPictures);
  const int64_t batches = (count + kGridPictures - 1) / kGridPictures;
  std::vector<std::vector<int64_t>> ids(static_cast<size_t>(batches));
  for (int64_t i = 0; i < count; ++i) ids[static_cast<size_t>(i % batches)].push_back(i * size / count);
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
    boxes.push_back({row[i][0], row[i][1], row[i][2], row[i][3], cls, caption(name_on_picture(names, cls), row[i][4])});
  }
  return boxes;
}

/// The part of a letterboxed picture that is the picture, and its boxes moved along.
Image without_padding(const Image& square, const LetterboxInfo& fit, std::vector<DrawnBox>& boxes) {
  const auto left = static_cast<int>(fit.pad_x), top = static_cast<int>(fit.pad_y);
  Image part(fit.width, fit.height);
  for (int y = 0; y < fit.height; ++y) std::copy_n(square.row(top + y) + 3 * left, part.stride(), part.row(y));
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

Image predictions_grid(const Batch& batch, const std::vector<Detections>& found, const std::vector<std::string>& names) {
  std::vector<Image> pictures;
  for (size_t i = 0; i < found.size(); ++i) {
    const std::vector<DrawnBox> boxes = boxes_of(found[i], names);
    pictures.push_back(draw_boxes(image_from_tensor(batch.images[static_cast<int64_t>(i)]), boxes));
  }
  return picture_grid(pictures, kGridCell);
}

/// Some pictures of the batch, each without its padding: 01.jpg and so on.
void write_single_pictures(const fs::path& folder, const Batch& batch, const std::vector<Detections>& found,
                           const std::vector<std::string>& names) {
  const auto size = static_cast<int64_t>(found.size());
  const int64_t count = std::min(size, kSinglePictures);
  for (int64_t number = 0; number < count; ++number) {
    const auto i = static_cast<size_t>(number * size / count);
    std::vector<DrawnBox> boxes = boxes_of(found[i], names);
    const Image part =
        without_padding(image_from_tensor(batch.images[static_cast<int64_t>(i)]), batch.letterbox[i], boxes);
    write_jpeg(folder / picture_name(number + 1), draw_boxes(part, boxes));
  }
}

}  // namespace

void draw_validation(const fs::path& run_dir, Detector& model, const Dataset& data, int imgsz,
                     const ComputeDevice& device) {
  const at::NoGradGuard no_grad;
  fs::create_directories(run_dir / "val_pred");
  int number = 0;
  for (std::vector<int64_t>& ids : spread_batches(data.size())) {
    const Batch batch = read_batch(data, std::move(ids), imgsz);
    const std::vector<Detections> found =
        detect(model.forward_detecting(network_input(batch.images, device)), model.head_layout(), DetectOptions{});
    const std::string name = "val_batch" + std::to_string(number);
    write_jpeg(run_dir / (name + "_labels.jpg"), batch_picture(batch, data.names(), kGridPictures));
    write_jpeg(run_dir / (name + "_pred.jpg"), predictions_grid(batch, found, data.names()));
    if (number++ == 0) write_single_pictures(run_dir / "val_pred", batch, found, data.names());
  }
}

}  // namespace tenfold
